"""Where lungs and the places that a reader visits lie on a frontal film.

An anatomical prior, two ellipses where an average frontal film has its lungs, is moved and scaled to where the film is
darkest within them against a ring around them. Each lung is then what is darker than Otsu's threshold within the
enlarged ellipse: its largest connected region, closed and filled. The first step sees the film with its local mean and
contrast taken out, so that exposure matters little. Where a region is implausible (too small, too large, or off the
prior), as on a film with dense lungs, the ellipse is taken and the estimate called not plausible. A classical estimate
is enough here: it decides where findings are inserted into *normal* films, of which only those with plausible lungs are
used, and where a sweep goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from services.medical.chest_xray.training.data.preparation import Placement

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]
Point = tuple[float, float]

_CENTRES: Final = ((0.0, -0.19), (0.0, 0.19))
"""Row and column of the middle of the lung at the left and at the right of the picture, from the middle of both."""
_HALF_AXES: Final = (0.31, 0.15)
_TILT: Final = 0.16
"""Radians by which each leans towards the midline at its apex."""
_RING: Final = 1.3
"""Factor of axes of what is compared with the inside."""
_ENLARGED: Final = 1.25
_TALL: Final = (0.6, 0.75, 0.9, 1.05)
_WIDE: Final = (0.7, 0.85, 1.0, 1.15)
"""Factors of the ellipses' height and of all of their width that are tried."""
_STEP: Final = 4
"""Pixels of the grid per pixel of the picture in which the prior is moved."""
_REACH: Final = ((-0.2, 0.12), (-0.12, 0.12))
"""How far from the middle of the film that of the lungs may be, in rows and columns, as shares of it."""
_PLAUSIBLE: Final = (0.5, 1.6)
"""Area of a region over the ellipse's, beyond which the ellipse is taken."""
_OVERLAP: Final = 0.5
"""Least intersection over union of region and ellipse."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the prior lies: its middle on the grid in pixels, and factors of its height and width."""

    row: float
    column: float
    tall: float = 1.0
    wide: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class LungFields:
    """Lungs of a film, on the network's grid.

    Attributes:
        left: (H, W), of the lung at the left of the picture, the patient's right one.
        right: of the other.
        placement: where the film lies.
        plausible: whether both are regions of the film; an ellipse of the prior stands in for one that is not.
    """

    left: Mask
    right: Mask
    placement: Placement
    plausible: bool

    @property
    def both(self) -> Mask:
        """Either lung."""
        return self.left | self.right


def estimate_lungs(film: Field, placement: Placement) -> LungFields:
    """The lung fields of a frontal film, bones white.

    Args:
        film: float32 (H, W) in [0, 1].
        placement: where it lies on the grid.
    """
    even = _even_out(film, placement)
    pose = find_pose(even, placement)
    smooth = ndimage.gaussian_filter(film, 0.008 * placement.height)
    (left, found_left), (right, found_right) = (_lung(smooth, placement, pose, side) for side in range(2))
    return LungFields(left, right & ~left, placement, found_left and found_right)


def prior_lung(shape: tuple[int, int], placement: Placement, pose: Pose, side: int, *, enlarged: float = 1.0) -> Mask:
    """The ellipse of a lung.

    Args:
        shape: of the grid.
        placement: of the film, whose sides its axes are shares of.
        pose: where it lies.
        side: 0 for the left of the picture, 1 for the right.
        enlarged: factor of its axes.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down = (rows - pose.row) / (placement.height * pose.tall) - _CENTRES[side][0]
    across = (columns - pose.column) / (placement.width * pose.wide) - _CENTRES[side][1]
    lean = _TILT if side == 0 else -_TILT
    along, beside = down * np.cos(lean) - across * np.sin(lean), down * np.sin(lean) + across * np.cos(lean)
    inside: Mask = (along / _HALF_AXES[0]) ** 2 + (beside / _HALF_AXES[1]) ** 2 <= enlarged**2
    return inside


def find_pose(even: Field, placement: Placement) -> Pose:
    """Where the prior is darkest against its ring, of all poses that are tried.

    Args:
        even: (H, W), the film with local mean and contrast taken out.
        placement: where it lies.
    """
    small = even[::_STEP, ::_STEP]
    grid = Placement(
        *(round(one / _STEP) for one in (placement.top, placement.left, placement.height, placement.width))
    )
    middle = (grid.top + grid.height / 2, grid.left + grid.width / 2)
    found, best = Pose(*(one * _STEP for one in middle)), -np.inf
    spectrum = np.fft.rfft2(small)
    for tall, wide in product(_TALL, _WIDE):
        template = _template(small.shape, grid, Pose(*middle, tall, wide))
        scores = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(template)), s=small.shape)
        for row, column in product(
            *(_steps(limits, side) for limits, side in zip(_REACH, (grid.height, grid.width), strict=True))
        ):
            if scores[row, column] > best:
                best = scores[row, column]
                found = Pose((middle[0] + row) * _STEP, (middle[1] + column) * _STEP, tall, wide)
    return found


def _steps(limits: tuple[float, float], side: int) -> range:
    return range(round(limits[0] * side), round(limits[1] * side) + 1)


def _template(shape: tuple[int, ...], grid: Placement, pose: Pose) -> Field:
    """Mean of the ring minus mean of the inside; larger lungs count for more, as a mean says less of few pixels."""
    inside, around = np.zeros(shape, bool), np.zeros(shape, bool)
    for side in range(2):
        inside |= prior_lung((shape[0], shape[1]), grid, pose, side)
        around |= prior_lung((shape[0], shape[1]), grid, pose, side, enlarged=_RING)
    around &= ~inside
    area = float(inside.sum())
    template: Field = ((around / max(1, around.sum()) - inside / max(1.0, area)) * np.sqrt(area)).astype(np.float32)
    return template


def _even_out(film: Field, placement: Placement) -> Field:
    """The film smoothed, minus its local mean, over its local deviation; 0 beside the film."""
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    smooth = ndimage.gaussian_filter(film[rows, columns], 0.008 * placement.height)
    wide = 0.15 * placement.height
    mean = ndimage.gaussian_filter(smooth, wide)
    deviation = np.sqrt(np.maximum(ndimage.gaussian_filter(smooth**2, wide) - mean**2, 0))
    even = np.zeros_like(film)
    even[rows, columns] = (smooth - mean) / (deviation + 0.02)
    return even


def _lung(smooth: Field, placement: Placement, pose: Pose, side: int) -> tuple[Mask, bool]:
    """A lung, and whether it is a region of the film."""
    shape = (smooth.shape[0], smooth.shape[1])
    prior = prior_lung(shape, placement, pose, side)
    searched = prior_lung(shape, placement, pose, side, enlarged=_ENLARGED)
    dark = searched & (smooth < _otsu(smooth[searched]))
    region = _largest(ndimage.binary_opening(dark, iterations=max(1, placement.height // 100)))
    steps = max(1, placement.height // 25)
    closed = ndimage.binary_closing(np.pad(region, steps), iterations=steps)[steps:-steps, steps:-steps]
    filled: Mask = ndimage.binary_fill_holes(closed) & searched
    area = int(filled.sum()) / max(1, int(prior.sum()))
    overlap = int((filled & prior).sum()) / max(1, int((filled | prior).sum()))
    plausible = _PLAUSIBLE[0] <= area <= _PLAUSIBLE[1] and overlap >= _OVERLAP
    return (filled, True) if plausible else (prior, False)


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    largest: Mask = labels == 1 + int(sizes.argmax())
    return largest


def _otsu(values: Field) -> float:
    """The threshold that parts values into two groups of the largest variance between them (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=64)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centres[int(np.nan_to_num(between).argmax())])


def hilum(lung: Mask, side: int) -> Point:
    """Row and column of the middle of a lung's inner border, where the vessels enter."""
    rows = np.flatnonzero(lung.any(axis=1))
    row = rows[0] + 0.48 * (rows[-1] - rows[0])
    columns = np.flatnonzero(lung[round(row)])
    inner, outer = (columns[-1], columns[0]) if side == 0 else (columns[0], columns[-1])
    return float(row), float(inner + 0.12 * (outer - inner))


def costophrenic_angle(lung: Mask, side: int) -> Point:
    """Row and column of a lung's lowest outer corner."""
    rows, columns = np.nonzero(lung)
    outward = -columns if side == 0 else columns
    best = int((rows + 0.8 * outward).argmax())
    return float(rows[best]), float(columns[best])


def zone(lung: Mask, part: int) -> Point:
    """Row and column of the middle of a lung's upper, middle or lower third (0, 1, 2)."""
    rows, columns = np.nonzero(lung)
    first, last = rows.min(), rows.max() + 1
    third = (rows - first) * 3 // (last - first) == part
    return float(rows[third].mean()), float(columns[third].mean())


def heart(lungs: LungFields) -> tuple[Point, Point]:
    """Middle and half axes (rows, columns) of the cardiac silhouette: between the lungs' lower halves, to the right."""
    left, right = hilum(lungs.left, 0), hilum(lungs.right, 1)
    bottom = max(np.nonzero(lungs.left)[0].max(), np.nonzero(lungs.right)[0].max())
    height, width = float(bottom) - (left[0] + right[0]) / 2, right[1] - left[1]
    row = (left[0] + right[0]) / 2 + 0.55 * height
    return (row, (left[1] + right[1]) / 2 + 0.12 * width), (0.55 * height, 0.62 * width)
