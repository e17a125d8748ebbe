"""Filters in front of a captioner, and what they leave of an attack: on the clean picture and on the changed one.

None of them knows of the attack, and the attack knew of none of them: one made against a filter may pass it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.security.caption_attack.captioners.queries import CaptionQueries
from services.security.caption_attack.searching.objectives import Objective

Defence = Literal["median_3x3", "jpeg_75", "random_resize"]
"""
- `median_3x3`: of each channel; pixels beyond the border are those mirrored inside.
- `jpeg_75`: saved as a JPEG of quality 75 with halved colour resolution, and read again.
- `random_resize`: to 70 to 95 % of the sides, drawn for each picture, and back, both bilinear (after Xie et al. 2018).
"""

DEFENCES: Final[tuple[Defence, ...]] = get_args(Defence)
_QUALITY: Final = 75
_LEAST, _MOST = 0.70, 0.95


@dataclass(frozen=True, slots=True)
class DefendedCaptions:
    """What the captioner says behind a defence.

    Attributes:
        defence: which.
        clean: captions of the clean picture.
        changed: captions of the changed picture.
        clean_score, changed_score: means of their scores.
    """

    defence: Defence
    clean: tuple[str, ...]
    changed: tuple[str, ...]
    clean_score: float
    changed_score: float


def try_defences(
    queries: CaptionQueries,
    *,
    clean: NDArray[np.uint8],
    changed: NDArray[np.uint8],
    objective: Objective,
    seed: int,
    repeats: int = 1,
    defences: Sequence[Defence] = DEFENCES,
) -> list[DefendedCaptions]:
    """Ask about both pictures behind each defence.

    Args:
        queries: to the captioner; each defence takes twice `repeats` of their budget.
        clean: (h, w, 3) uint8.
        changed: of the same size.
        objective: scores captions.
        seed: of random defences.
        repeats: captions of each picture.
        defences: in the order they are tried.

    Returns:
        As many as the budget allows, in order.
    """
    tried: list[DefendedCaptions] = []
    for defence in defences:
        if queries.budget.left < 2 * repeats:
            break
        pictures = [defend(defence, picture, seed=seed) for picture in (clean, changed)]
        captions = queries.ask_anyway([picture for picture in pictures for _ in range(repeats)])
        before, after = captions[:repeats], captions[repeats:]
        scores = objective.mean_score(before), objective.mean_score(after)
        tried.append(DefendedCaptions(defence, before, after, *scores))
    return tried


def defend(defence: Defence, picture: NDArray[np.uint8], *, seed: int = 0) -> NDArray[np.uint8]:
    """A picture behind a defence, (h, w, 3) uint8 of the same size.

    Args:
        defence: which.
        picture: (h, w, 3) uint8.
        seed: of a random one: the same seed gives the same sides.
    """
    if defence == "median_3x3":
        from scipy.ndimage import median_filter  # the service names defences, jobs alone apply them

        filtered: NDArray[np.uint8] = median_filter(picture, size=(3, 3, 1), mode="reflect")
        return filtered
    image = Image.fromarray(np.ascontiguousarray(picture))
    if defence == "jpeg_75":
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=_QUALITY, subsampling="4:2:0")
        return np.asarray(Image.open(stream, formats=["JPEG"]).convert("RGB"))
    factor = np.random.default_rng(seed).uniform(_LEAST, _MOST)
    sides = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    smaller = image.resize(sides, Image.Resampling.BILINEAR)
    return np.asarray(smaller.resize(image.size, Image.Resampling.BILINEAR))
