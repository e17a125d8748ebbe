"""The observer model: where a reader is taken to look at a film, written down as a density. Nothing here was measured.

A fixation falls, with a probability of its own for each kind,

- on a finding: places within it in proportion to how much they differ from the film without it, findings in proportion
  to their visibility; the more visible, the larger the share of all fixations, up to `LESION_SHARE`;
- on a stop of the sweep that readers are taught: hila, mediastinum, heart, costophrenic angles and three zones of each
  lung, in proportion to `STOPS`, which vary from film to film by a gamma distribution;
- anywhere around the middle of the film (`CENTRE_SHARE`), as on any picture.

Places of stops scatter by `SCATTER`. All is blurred by the paper's Gaussian, by which it turns gaze samples into its
target: a kernel of 501 pixels with OpenCV's automatic sigma, 75.5 of 3056 pixels of a film's height (paper sheet,
section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from services.medical.chest_xray.training.data.manifest import Box
from services.medical.chest_xray.training.data.preparation import Placement
from services.medical.chest_xray.training.targets.anatomy import (
    LungFields,
    Point,
    costophrenic_angle,
    heart,
    hilum,
    zone,
)

Field = NDArray[np.float32]

OBSERVER: Final = "observer-1"
"""Version of this model."""
BLUR: Final = 75.5 / 3056
"""Standard deviation of the paper's Gaussian over the height of a film."""
SCATTER: Final = 0.03
"""Standard deviation of fixations around a stop over the height of a film."""
CENTRE: Final = (0.22, 0.2)
"""Standard deviations of the centre bias over height and width of a film."""
LESION_SHARE: Final = 0.7
CENTRE_SHARE: Final = 0.1
STOPS: Final = {"mediastinum": 0.16, "heart": 0.12, "hilum": 0.11, "angle": 0.07, "zone": 0.06}
"""Weight of each stop; there are two hila and angles, and six zones."""
_VARIATION: Final = 4.0
"""Shape of the gamma distribution of a stop's weight; its standard deviation is half its mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """Something that a reader dwells on.

    Attributes:
        density: (H, W), not negative, where within it.
        visibility: 0 to 1.
    """

    density: Field
    visibility: float


def blur(density: Field, placement: Placement) -> Field:
    """A density blurred by the paper's Gaussian; it sums to 1 and keeps within the film."""
    spread = ndimage.gaussian_filter(density, BLUR * placement.height, mode="constant")
    inside = np.zeros_like(spread)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    inside[rows, columns] = spread[rows, columns]
    return normalise(inside)


def normalise(density: Field) -> Field:
    """The same with a sum of 1.

    Raises:
        ValueError: there is nothing.
    """
    total = float(density.sum(dtype=np.float64))
    if not total > 0:
        raise ValueError("a density is positive somewhere")
    found: Field = (density / total).astype(np.float32)
    return found


def box_density(boxes: Sequence[Box], shape: tuple[int, int], placement: Placement) -> Field:
    """A radiologist's boxes as a density: each box counts alike, even over its area, blurred by the paper's Gaussian.

    Args:
        boxes: left, top, width and height in pixels of the grid.
        shape: of the grid.
        placement: of the film.
    """
    density = np.zeros(shape, np.float32)
    for box in boxes:
        rows, columns = _cells(box, shape)
        density[rows, columns] += 1 / ((rows.stop - rows.start) * (columns.stop - columns.start))
    return blur(density, placement)


def _cells(box: Box, shape: tuple[int, int]) -> tuple[slice, slice]:
    """At least one pixel of the grid."""
    x, y, width, height = box
    top, left = min(shape[0] - 1, max(0, round(y))), min(shape[1] - 1, max(0, round(x)))
    bottom, right = min(shape[0], max(top + 1, round(y + height))), min(shape[1], max(left + 1, round(x + width)))
    return slice(top, bottom), slice(left, right)


def fixation_density(lungs: LungFields, findings: Sequence[Finding], random: np.random.Generator) -> Field:
    """Where the observer looks at a film, float32 (H, W), a density.

    Args:
        lungs: of the film.
        findings: on it.
        random: for what varies from film to film.
    """
    unseen = float(np.prod([1 - one.visibility for one in findings])) if findings else 1.0
    lesions = LESION_SHARE * (1 - unseen)
    density = (1 - lesions - CENTRE_SHARE) * _sweep(lungs, random) + CENTRE_SHARE * _centre(lungs)
    if lesions > 0:
        weights = np.array([one.visibility for one in findings]) / sum(one.visibility for one in findings)
        for weight, one in zip(weights, findings, strict=True):
            density = density + np.float32(lesions * weight) * normalise(one.density)
    return blur(density, lungs.placement)


def _sweep(lungs: LungFields, random: np.random.Generator) -> Field:
    shape, height = lungs.left.shape, lungs.placement.height
    density = np.zeros(shape, np.float32)
    for weight, (row, column) in _stops(lungs):
        drawn = weight * random.gamma(_VARIATION, 1 / _VARIATION)
        row, column = (random.normal(one, SCATTER * height / 2) for one in (row, column))
        density[min(shape[0] - 1, max(0, round(row))), min(shape[1] - 1, max(0, round(column)))] += drawn
    return normalise(ndimage.gaussian_filter(density, SCATTER * height, mode="constant"))


def _stops(lungs: LungFields) -> list[tuple[float, Point]]:
    hila = [hilum(lungs.left, 0), hilum(lungs.right, 1)]
    height = lungs.placement.height
    middle = (float(np.mean([row for row, _ in hila])), float(np.mean([column for _, column in hila])))
    stops = [(STOPS["mediastinum"] / 2, middle), (STOPS["mediastinum"] / 2, (middle[0] - 0.14 * height, middle[1]))]
    stops += [(STOPS["heart"], heart(lungs)[0])] + [(STOPS["hilum"], point) for point in hila]
    for side, lung in enumerate((lungs.left, lungs.right)):
        stops.append((STOPS["angle"], costophrenic_angle(lung, side)))
        stops += [(STOPS["zone"], zone(lung, part)) for part in range(3)]
    return stops


def _centre(lungs: LungFields) -> Field:
    place = lungs.placement
    rows, columns = np.ogrid[: lungs.left.shape[0], : lungs.left.shape[1]]
    down = ((rows - place.top) / place.height - 0.5) / CENTRE[0]
    across = ((columns - place.left) / place.width - 0.5) / CENTRE[1]
    return normalise(np.exp(-(down**2 + across**2) / 2).astype(np.float32))
