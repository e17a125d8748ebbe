"""Which anchor or proposal is to find which object, and which of them a loss is computed of."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from services.optimisation.overlaps import iou_matrix

BACKGROUND: Final = -1
IGNORED: Final = -2


def match(overlaps: Tensor, *, foreground: float, background: float, keep_best: bool = False) -> Tensor:
    """The object of each candidate (Ren et al. 2015, section 3.1.2).

    Args:
        overlaps: IoU (objects, candidates); there may be no objects.
        foreground: IoU from which on a candidate is one of its best object.
        background: IoU below which it is background; between the two it is ignored.
        keep_best: whether the candidates with the largest IoU of an object are its, however small that is.

    Returns:
        int64 (candidates,): index of an object, `BACKGROUND` or `IGNORED`.
    """
    if len(overlaps) == 0:
        return torch.full((overlaps.shape[1],), BACKGROUND, device=overlaps.device)
    largest, objects = overlaps.max(dim=0)
    found = torch.where(largest >= foreground, objects, torch.where(largest < background, BACKGROUND, IGNORED))
    if keep_best:
        best = overlaps.max(dim=1, keepdim=True).values
        chosen = ((overlaps == best) & (best > 0)).any(dim=0)
        found = torch.where(chosen, objects, found)
    return found


def ignore_unsure(matches: Tensor, boxes: Tensor, unsure: Tensor | None, *, overlap: float) -> Tensor:
    """The same matches, but that background which lies on an unsure object is ignored.

    Args:
        matches: int64 (candidates,), of `match`.
        boxes: float32 (candidates, 4).
        unsure: float32 (n, 4), or None for none.
        overlap: IoU from which on a candidate lies on one.
    """
    if unsure is None or len(unsure) == 0:
        return matches
    lies_on_one = iou_matrix(unsure, boxes).amax(dim=0) >= overlap
    return torch.where((matches == BACKGROUND) & lies_on_one, IGNORED, matches)


def sample(matches: Tensor, *, count: int, positive_share: float) -> tuple[Tensor, Tensor]:
    """Draw candidates from torch's global generator; where positives are few, background takes their places.

    Args:
        matches: int64 (candidates,), of `match`.
        count: candidates to draw at most.
        positive_share: of the count, at most.

    Returns:
        Indices of the positives and of the background drawn, int64.
    """
    positives, negatives = (matches >= 0).nonzero()[:, 0], (matches == BACKGROUND).nonzero()[:, 0]
    chosen = _draw(positives, int(count * positive_share))
    return chosen, _draw(negatives, count - len(chosen))


def _draw(indices: Tensor, count: int) -> Tensor:
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]
