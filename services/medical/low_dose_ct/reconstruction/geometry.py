"""The parallel-beam scanner: where the angles, the detector bins and the pixels sit.

Every room of low-dose CT shares this one convention (that of ODL, and so of LoDoPaB-CT and DIVal):

- A pixel `image[i, j]` has its centre at `x = (i - (rows - 1) / 2) * pixel_size` and
  `y = (j - (columns - 1) / 2) * pixel_size`: the first axis is x, the second is y, both increasing.
- The projection at angle `theta` and detector coordinate `s` integrates along the line
  `x * cos(theta) + y * sin(theta) = s`.
- Angles and detector bins sit at the middle of their cells: `theta_k = (k + 1/2) * pi / angles`, and the detector
  covers `[-detector_width / 2, detector_width / 2]` without gaps.

scikit-image measures from the other axis: its `radon` at `theta - 90` degrees is this projection at `theta`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ParallelBeam:
    """A parallel-beam scan over half a turn and the image grid that it sees; the defaults are LoDoPaB-CT's.

    Lengths share one unit (metres by default), and line integrals come out in image units times that unit.

    Attributes:
        angles: number of projection angles, spread over [0, pi) at cell mid-points.
        detectors: number of detector bins.
        detector_width: length of the detector.
        image_shape: rows and columns of the image.
        image_width: length of the image along its second axis; pixels are square.

    Raises:
        ValueError: a count is not a positive integer, or a length is not a positive finite number.
    """

    angles: int = 1000
    detectors: int = 513
    detector_width: float = 2 * 0.13 * math.sqrt(2)
    image_shape: tuple[int, int] = (362, 362)
    image_width: float = 0.26

    def __post_init__(self) -> None:
        if len(self.image_shape) != 2:
            raise ValueError(f"image_shape must hold two numbers, rows and columns, got {self.image_shape!r}")
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        counts = {
            "angles": self.angles,
            "detectors": self.detectors,
            "image_shape[0]": self.image_shape[0],
            "image_shape[1]": self.image_shape[1],
        }
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise ValueError(f"{name} must be a positive integer, got {count!r}")
        for name in ("detector_width", "image_width"):
            length = getattr(self, name)
            if not math.isfinite(length) or length <= 0:
                raise ValueError(f"{name} must be a positive finite length, got {length!r}")

    @property
    def sinogram_shape(self) -> tuple[int, int]:
        """Shape of a sinogram: (angles, detectors)."""
        return (self.angles, self.detectors)

    @property
    def detector_pitch(self) -> float:
        """Length of one detector bin."""
        return self.detector_width / self.detectors

    @property
    def pixel_size(self) -> float:
        """Side of one pixel."""
        return self.image_width / self.image_shape[1]

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """Projection angles in radians, (angles,), the mid-points of equal cells of [0, pi)."""
        cells = np.arange(self.angles, dtype=np.float64)
        return (cells + 0.5) * (math.pi / self.angles)

    @property
    def detector_positions(self) -> NDArray[np.float64]:
        """Coordinates s of the bin centres, (detectors,), symmetric about zero."""
        return _centred(self.detectors) * self.detector_pitch

    def pixel_positions(self, axis: int) -> NDArray[np.float64]:
        """Coordinates of the pixel centres along axis 0 (x) or 1 (y), symmetric about zero."""
        return _centred(self.image_shape[axis]) * self.pixel_size


def _centred(count: int) -> NDArray[np.float64]:
    """Return 0, 1, 2, ... less their mean."""
    return np.arange(count, dtype=np.float64) - (count - 1) / 2


LODOPAB = ParallelBeam()
"""LoDoPaB-CT: 1000 angles, 513 bins over 0.13 * sqrt(2) m to each side, 362 x 362 pixels of 0.718 mm."""

ELLIPSES = ParallelBeam(
    angles=30, detectors=183, detector_width=128 * math.sqrt(2), image_shape=(128, 128), image_width=128.0
)
"""DIVal "ellipses": 30 angles, 183 bins, 128 x 128 pixels on the domain [-64, 64]^2."""
