"""Films out of DICOM files: checked, decoded, and shown as a viewer would.

Computed, digital and digitised radiographs (PS3.3 A.2, A.26) differ in what they state, so files are judged by what
they show: a single grey frame of a chest from the front. Problems name elements and numbers of the pixel layout, never
a value that could belong to a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from services.medical.chest_xray.grey_values import Greys, show
from shared.imaging.dicom_elements import items, texts
from shared.imaging.dicom_parsing import parse_dicom
from shared.imaging.dicom_pixels import decode_pixels
from shared.imaging.dicom_values import (
    code_of,
    find_padding,
    number_of,
    numbers_of,
    read_layout,
    stored_value,
    value_of,
)
from shared.problems import field_problem

MODALITIES: Final = frozenset({"CR", "DX", "DR"})

_OTHER_VIEWS: Final = frozenset(
    {"LATERAL", "LAT", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE"}
)
"""View positions of older and newer files that show a chest from another side, or lying on one (PS3.3 C.8.1.1)."""

_OTHER_VIEW_WORDS: Final = ("lateral", "oblique")
_OTHER_PARTS: Final = frozenset(
    {
        "ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CLAVICLE", "COCCYX", "CSPINE", "ELBOW", "EXTREMITY",
        "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE",
        "NECK", "PELVIS", "SACRUM", "SHOULDER", "SKULL", "SPINE", "SSPINE", "TEETH", "THUMB", "TOE", "TSPINE", "WRIST",
    }
)  # fmt: skip
"""Defined terms of BodyPartExamined that are no chest (PS3.16 annex L)."""

_LARGEST_ASPECT: Final = 4.0
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A decoded radiograph.

    Attributes:
        greys: float32 (h, w) in [0, 1], bones white.
        valid: (h, w), False where a pixel is padding; None where none is.
        aspect: height of a pixel over its width.
        view: ViewPosition, PA or AP as a rule; None where the file does not say.
        modality: CR, DX or DR.
        photometric: MONOCHROME1 or MONOCHROME2.
        dataset: the data set without its pixel data, for objects that refer to it.
    """

    greys: Greys
    valid: NDArray[np.bool_] | None
    aspect: float
    view: str | None
    modality: str
    photometric: str
    dataset: Dataset


def read_radiograph(data: bytes, *, limit_pixels: int, pointer: str = "/body/file") -> Radiograph:
    """Read a film that came as a DICOM file.

    Args:
        data: the whole file.
        limit_pixels: most pixels, judged by Rows and Columns before decoding.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType: not DICOM, or a transfer syntax that cannot be decoded.
        ContentTooLarge: more pixels than allowed.
        UnprocessableContent: no radiograph of a chest from the front, several frames, colour, or damaged.
    """
    dataset = parse_dicom(data, pointer=pointer)
    _require_radiograph(dataset, pointer)
    _require_frontal_chest(dataset, pointer)
    layout = read_layout(dataset, limit_pixels, pointer)
    stored = decode_pixels(dataset, layout, pointer=pointer)
    del dataset.PixelData
    padding = find_padding(dataset, stored, stored_value(value_of(dataset, "PixelPaddingValue"), layout), layout)
    return Radiograph(
        greys=show(stored, dataset, layout, valid=~padding, pointer=pointer),
        valid=~padding if padding.any() else None,
        aspect=_read_aspect(dataset, pointer),
        view=_view(dataset),
        modality=code_of(dataset, "Modality").strip(),
        photometric=code_of(dataset, "PhotometricInterpretation").strip(),
        dataset=dataset,
    )


def _require_radiograph(dataset: Dataset, pointer: str) -> None:
    modality = code_of(dataset, "Modality").strip()
    if modality not in MODALITIES:
        detail = f"The modality (0008,0060) is {modality}; a radiograph of the chest is needed: CR, DX or DR."
        raise field_problem(pointer, detail)
    frames = 1.0 if value_of(dataset, "NumberOfFrames") is None else number_of(dataset, "NumberOfFrames", pointer)
    if frames != 1:
        raise field_problem(pointer, f"The file holds {frames:.0f} frames; send one single-frame film per file.")
    photometric = code_of(dataset, "PhotometricInterpretation").strip()
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or number_of(dataset, "SamplesPerPixel", pointer) != 1:
        raise field_problem(pointer, f"The photometric interpretation is {photometric}; a grey film is needed.")


def _require_frontal_chest(dataset: Dataset, pointer: str) -> None:
    """Refuse what states that it shows something else; what states nothing is judged by its pixels later."""
    part = code_of(dataset, "BodyPartExamined").strip()
    if part in _OTHER_PARTS:
        raise field_problem(pointer, f"The body part (0018,0015) is {part}; a film of the chest is needed.")
    view = _view(dataset)
    if view in _OTHER_VIEWS:
        detail = f"The view position (0018,5101) is {view}; a frontal film of the chest is needed: PA or AP."
        raise field_problem(pointer, detail)
    meanings = [text.lower() for item in items(dataset, "ViewCodeSequence") for text in texts(item, "CodeMeaning")]
    if view is None and any(word in meaning for meaning in meanings for word in _OTHER_VIEW_WORDS):
        detail = "The view code (0054,0220) is that of a lateral or oblique view; a frontal film is needed."
        raise field_problem(pointer, detail)


def _view(dataset: Dataset) -> str | None:
    view = code_of(dataset, "ViewPosition").strip()
    return None if view in {"nothing", "something unreadable", ""} else view


def _read_aspect(dataset: Dataset, pointer: str) -> float:
    """Height of a pixel over its width: distances of rows and of columns, or the ratio that is stated."""
    for keyword in _SPACINGS:
        sides = numbers_of(dataset, keyword, 2)
        if sides is None or min(sides) <= 0:
            continue
        aspect = sides[0] / sides[1]
        if not 1 / _LARGEST_ASPECT <= aspect <= _LARGEST_ASPECT:
            raise field_problem(pointer, f"{keyword} makes pixels {aspect:.3g} times as high as wide.")
        return aspect
    return 1.0
