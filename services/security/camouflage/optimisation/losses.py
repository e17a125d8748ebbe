"""The parts of the loss: that the car is not found, and what holds its colours back.

Fact sheet, section 3. The hide loss is RAUCA's form, which looks at boxes on the target alone; the released code of FPA
raises objectness where it means to lower it (trap 4) and looks at every object of a picture (trap 5).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from services.security.camouflage.optimisation.rendering.colours import to_lab
from services.security.camouflage.textures.covers import CoverMask

SUREST: Final = 5
"""Boxes of a picture that the hide loss of a run looks at: neighbours of the surest one take its place once it is
hidden, and are lowered with it."""
_MOST: Final = 1 - 1e-4
"""Largest product of overlap and score that counts, so that no loss is above 9.3."""
_TINY: Final = 1e-12


def overlaps(boxes: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of boxes and the target of their picture.

    Args:
        boxes: (pictures, regions, 4), left, top, right and bottom.
        targets: (pictures, 4).

    Returns:
        (pictures, regions) in [0, 1].
    """
    target = targets[:, None]
    sides = torch.minimum(boxes[..., 2:], target[..., 2:]) - torch.maximum(boxes[..., :2], target[..., :2])
    common = sides.clamp(min=0).prod(dim=-1)
    areas = [(one[..., 2:] - one[..., :2]).clamp(min=0).prod(dim=-1) for one in (boxes, target)]
    return common / (areas[0] + areas[1] - common).clamp(min=_TINY)


def hide_loss(boxes: Tensor, scores: Tensor, targets: Tensor, *, surest: int = 1) -> Tensor:
    """-log(1 - IoU * score) of the surest boxes on the target, mean over boxes and pictures.

    Args:
        boxes: (pictures, regions, 4) in pixels.
        scores: (pictures, regions) in [0, 1].
        targets: (pictures, 4), where the car is.
        surest: how many boxes; 1 is the maximum of the fact sheet.
    """
    found = overlaps(boxes.detach(), targets).to(scores.dtype) * scores
    chosen = found.topk(min(surest, found.shape[1]), dim=1).values
    return -torch.log1p(-chosen.clamp(max=_MOST)).mean()


def best_scores(boxes: Tensor, scores: Tensor, targets: Tensor, *, overlap: float = 0.5) -> Tensor:
    """Score of the surest box that overlaps the target enough, zero for none; (pictures,)."""
    on_target = overlaps(boxes, targets) >= overlap
    return torch.where(on_target, scores, torch.zeros_like(scores)).amax(dim=1)


class TextureLosses:
    """Losses of the texture alone, over covered texels, each as much as its surface.

    Args:
        cover: which texels.
        palette: (n, 3), sRGB in [0, 1], colours of the background.
        printable: (m, 3), sRGB in [0, 1], colours of a printer.
    """

    def __init__(self, cover: CoverMask, palette: Tensor, printable: Tensor) -> None:
        areas = torch.from_numpy(cover.areas)
        self._covered = areas > 0
        self._weights = (areas / areas.sum().clamp(min=_TINY))[self._covered]
        self._palette, self._printable = to_lab(palette), printable
        charts = torch.from_numpy(cover.charts)
        self._right = (charts[:, 1:] == charts[:, :-1]) & (charts[:, 1:] >= 0)
        self._down = (charts[1:] == charts[:-1]) & (charts[1:] >= 0)

    def covert(self, texture: Tensor) -> Tensor:
        """Mean distance to the nearest colour of the palette in CIELAB (CIE 1976), 1 as far as black from white.

        Args:
            texture: (3, side, side), sRGB in [0, 1].
        """
        return self._distance(to_lab(texture.permute(1, 2, 0)[self._covered]), self._palette) / 100

    def printable(self, texture: Tensor) -> Tensor:
        """Mean distance to the nearest printable colour in sRGB (non-printability score, Sharif et al. 2016)."""
        return self._distance(texture.permute(1, 2, 0)[self._covered], self._printable)

    def smooth(self, texture: Tensor) -> Tensor:
        """Mean absolute difference of neighbouring covered texels of one chart (total variation)."""
        across = (texture[:, :, 1:] - texture[:, :, :-1]).abs()[:, self._right]
        down = (texture[:, 1:] - texture[:, :-1]).abs()[:, self._down]
        return (across.sum() + down.sum()) / max(1, across.numel() + down.numel())

    def _distance(self, colours: Tensor, others: Tensor) -> Tensor:
        squares = (colours[:, None] - others.to(colours.dtype)).square().sum(dim=-1)
        # The root of zero has no gradient.
        nearest = squares.amin(dim=1).clamp(min=_TINY).sqrt()
        return (nearest * self._weights.to(colours.dtype)).sum()
