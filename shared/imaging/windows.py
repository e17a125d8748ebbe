"""From Hounsfield units to what a screen shows: named or given windows, rendered by the linear function of DICOM.

DICOM PS3.3 C.11.2.1.2.1 defines the window; its off-by-half terms matter for narrow ones and are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.imaging.pictures import encode_png
from shared.problems import field_problem


@dataclass(frozen=True, slots=True)
class Window:
    """A range of Hounsfield units.

    Attributes:
        center: HU in the middle of the grey scale.
        width: HU from black to white, at least 1.
        name: how it was asked for.
    """

    center: float
    width: float
    name: str = "custom"


WINDOWS: Final[dict[str, Window]] = {
    "lung": Window(-600, 1500, "lung"),
    "soft-tissue": Window(40, 400, "soft-tissue"),
    "mediastinum": Window(50, 350, "mediastinum"),
    "bone": Window(400, 1800, "bone"),
    "brain": Window(40, 80, "brain"),
    "full": Window(1024, 4096, "full"),
}
"""Windows by name; `full` spans -1024 to 3071 HU, the whole 12-bit scale."""

_WIDEST: Final = 65536.0
_PART: Final = 2**18
"""Pixels that are converted at a time, in double precision."""


def parse_window(text: str, *, pointer: str = "/query/window") -> Window:
    """A window by name or as `center,width` in HU, such as `40,400`.

    Raises:
        UnprocessableContent: neither; the detail lists the names.
    """
    named = WINDOWS.get(text.strip().lower().replace("_", "-"))
    if named is not None:
        return named
    parts = text.split(",")
    try:
        center, width = (float(part) for part in parts)
    except ValueError:
        detail = f"Name one of {', '.join(WINDOWS)}, or give center,width in HU, such as 40,400."
        raise field_problem(pointer, detail) from None
    if not math.isfinite(center) or abs(center) > _WIDEST or not 1 <= width <= _WIDEST:
        raise field_problem(
            pointer, f"The center must lie within ±{_WIDEST:.0f} HU, the width in 1 to {_WIDEST:.0f} HU."
        )
    return Window(center, width)


def apply_window(hu: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Grey values of a slice through a window (DICOM PS3.3 C.11.2.1.2.1, function LINEAR).

    Args:
        hu: Hounsfield units, any real dtype and shape.
        window: what becomes black and white.

    Returns:
        Values 0 (at and below the lower end) to 255 (above the upper end), rounded, in the shape of `hu`.
    """
    given = np.asarray(hu)
    shown = np.empty(given.shape, dtype=np.uint8)
    flat, out = given.reshape(-1), shown.reshape(-1)
    for start in range(0, flat.size, _PART):
        part = slice(start, start + _PART)
        out[part] = _greys(flat[part].astype(np.float64), window)
    return shown


def _greys(values: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    above, span = values - (window.center - 0.5), window.width - 1.0
    if span <= 0:
        return np.where(above > 0, 255.0, 0.0)
    return np.rint(np.clip((above / span + 0.5) * 255.0, 0.0, 255.0))


def render_png(hu: NDArray[Any], window: Window) -> bytes:
    """A slice (h, w) in HU as an 8-bit grey PNG through a window."""
    return encode_png(apply_window(hu, window))
