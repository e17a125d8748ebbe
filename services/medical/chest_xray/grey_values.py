"""From stored values of a radiograph to what a viewer shows: the grey pipeline of DICOM (PS3.3 C.11, PS3.4 N.2).

Stored values go through the modality LUT or the rescale, then through the VOI LUT or the window, and at last, where
white is the lowest value, they are inverted. Another order would draw the window around other values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from shared.imaging.dicom_elements import items, texts
from shared.imaging.dicom_pixels import PixelFormat
from shared.imaging.dicom_values import code_of, listed, number_of, value_of
from shared.problems import field_problem

Greys = NDArray[np.float32]
Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

_FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_LARGEST_LUT: Final = 65536


@dataclass(frozen=True, slots=True)
class ShownWindow:
    """A window of values of the modality LUT.

    Attributes:
        center: value in its middle.
        width: values from black to white.
        function: how it maps (PS3.3 C.11.2.1.2 and C.11.2.1.3).
    """

    center: float
    width: float
    function: Function = "LINEAR"

    def apply(self, values: Greys) -> Greys:
        """Greys in [0, 1]."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - np.float32(self.center)) / np.float32(self.width), -80, 80)
            return cast("Greys", 1 / (1 + np.exp(exponent)))
        half, span = (0.5, self.width - 1) if self.function == "LINEAR" else (0.0, self.width)
        above = values - np.float32(self.center - half)
        if span <= 0:  # a width of one: a step
            return np.asarray(above > 0, np.float32)
        return np.asarray(np.clip(above / np.float32(span) + np.float32(0.5), 0, 1), np.float32)


def show(
    stored: NDArray[Any], dataset: Dataset, layout: PixelFormat, *, valid: NDArray[np.bool_], pointer: str
) -> Greys:
    """Greys of a radiograph as a viewer shows them, bones white: float32 in [0, 1], of the shape of `stored`.

    Of a VOI LUT and a window, of which a file may have both, the LUT is taken: it is the more exact (PS3.3 C.11.2.1.1
    leaves the choice to the viewer); of several, the first. Where there is neither, the lowest and highest value that
    is no padding become 0 and 1.

    Args:
        stored: as they lie in the file.
        dataset: of the image, without whose elements values stay as they are.
        layout: of its pixels.
        valid: False where a pixel is padding.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: an element of the pipeline is no number, or damaged.
    """
    values = _modality_values(stored, dataset, layout, pointer)
    greys = _values_of_interest(values, dataset, layout, valid, pointer)
    return 1 - greys if shows_lowest_white(dataset) else greys


def shows_lowest_white(dataset: Dataset) -> bool:
    """Whether the lowest value is white.

    Images of digital radiography state it twice, as MONOCHROME1 and as the PresentationLUTShape INVERSE (PS3.3
    C.8.11.3.1.2): either says it, and both say it once.
    """
    photometric = code_of(dataset, "PhotometricInterpretation").strip()
    return photometric == "MONOCHROME1" or code_of(dataset, "PresentationLUTShape").strip() == "INVERSE"


def read_window(dataset: Dataset, pointer: str) -> ShownWindow | None:
    """The first window of a file, None where there is none.

    Raises:
        UnprocessableContent: it is no number, or narrower than its function allows.
    """
    center, width = (_first(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None and width is None:
        return None
    function = code_of(dataset, "VOILUTFunction").strip()
    function = "LINEAR" if function == "nothing" else function
    if function not in _FUNCTIONS:
        raise field_problem(pointer, f"VOILUTFunction (0028,1056) is {function}; it may be {', '.join(_FUNCTIONS)}.")
    numbers = [_finite(one) for one in (center, width)]
    if None in numbers:
        raise field_problem(pointer, "WindowCenter (0028,1050) and WindowWidth (0028,1051) are not both numbers.")
    found = cast("list[float]", numbers)
    if found[1] < 1 if function == "LINEAR" else found[1] <= 0:
        least = "at least 1" if function == "LINEAR" else "above 0"
        raise field_problem(pointer, f"WindowWidth (0028,1051) has to be {least} where the function is {function}.")
    return ShownWindow(found[0], found[1], cast("Function", function))


def _modality_values(stored: NDArray[Any], dataset: Dataset, layout: PixelFormat, pointer: str) -> Greys:
    """Values behind the modality LUT or the rescale, whichever there is (PS3.3 C.11.1)."""
    tables = items(dataset, "ModalityLUTSequence")
    if tables:
        return _look_up(stored, tables[0], signed=layout.signed, name="ModalityLUTSequence", pointer=pointer)[0]
    if value_of(dataset, "RescaleSlope") is None and value_of(dataset, "RescaleIntercept") is None:
        return stored.astype(np.float32)
    slope, intercept = (number_of(dataset, name, pointer) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise field_problem(pointer, "RescaleSlope (0028,1053) is zero.")
    with np.errstate(over="ignore", invalid="ignore"):  # judged right after
        values = (stored * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise field_problem(pointer, "RescaleSlope and RescaleIntercept lead beyond every number.")
    return values


def _values_of_interest(
    values: Greys, dataset: Dataset, layout: PixelFormat, valid: NDArray[np.bool_], pointer: str
) -> Greys:
    tables = items(dataset, "VOILUTSequence")
    if tables:
        signed = layout.signed or bool(values.min() < 0)
        shown, white = _look_up(values, tables[0], signed=signed, name="VOILUTSequence", pointer=pointer)
        return shown / np.float32(white)
    window = read_window(dataset, pointer)
    if window is not None:
        return window.apply(values)
    counted = values[valid]
    low, high = (counted.min(), counted.max()) if counted.size else (np.float32(0), np.float32(0))
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)


def _look_up(values: NDArray[Any], table: Dataset, *, signed: bool, name: str, pointer: str) -> tuple[Greys, float]:
    """Values through a table (PS3.3 C.11.1.1.1 and C.11.2.1.1), and its value of white.

    Values below the first that is mapped have the first entry, values above the last one the last.
    """
    descriptor = _whole_numbers(value_of(table, "LUTDescriptor"))
    if len(descriptor) != 3:
        raise field_problem(pointer, f"The LUTDescriptor (0028,3002) of {name} does not have three numbers.")
    count, first, bits = descriptor[0] & 0xFFFF or _LARGEST_LUT, descriptor[1], descriptor[2]
    first = first - 0x10000 if signed and first >= 0x8000 else first
    entries = _entries(table, count)
    if entries is None or not 1 <= bits <= 16:
        raise field_problem(pointer, f"The LUTData (0028,3006) of {name} do not fit its LUTDescriptor.")
    places = np.clip(np.rint(values.astype(np.float64)) - first, 0, count - 1).astype(np.int64)
    # Files state fewer bits than their entries have.
    return entries[places], max(float((1 << bits) - 1), float(entries.max()))


def _entries(table: Dataset, count: int) -> Greys | None:
    """The entries of a table, None where there are not so many."""
    data = value_of(table, "LUTData")
    if isinstance(data, bytes):
        # Words in little endian; where there are half as many bytes, one for each entry.
        numbers = np.frombuffer(data[: len(data) // 2 * 2], "<u2") if len(data) >= 2 * count else None
        if numbers is None and len(data) in {count, count + 1}:
            numbers = np.frombuffer(data, np.uint8)
    else:
        numbers = np.array([one & 0xFFFF for one in _whole_numbers(data)], np.uint16)
    if numbers is None or len(numbers) < count:
        return None
    return numbers[:count].astype(np.float32)


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, bytes):
        value = np.frombuffer(value[: len(value) // 2 * 2], "<u2").tolist()
    numbers = listed(value) or [value]
    return [int(one) for one in numbers] if all(isinstance(one, int) for one in numbers) else []


def _first(dataset: Dataset, keyword: str) -> str | None:
    """The first value of an element as text, None where there is none; what cannot be read is no number."""
    found = texts(dataset, keyword)
    if found:
        return found[0]
    return None if value_of(dataset, keyword) is None and not _is_there(dataset, keyword) else ""


def _is_there(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, whatever its value."""
    try:
        element = dataset.get_item(keyword)
    except Exception:  # whatever the bytes provoke
        return True
    return element is not None and bool(element.value)


def _finite(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e30 else None
