"""Elements of a DICOM data set that can be read and written again, at every depth; what cannot is left out.

Files of the field hold elements that no library can convert: values cut off, VRs that do not exist, ambiguous VRs
without what would decide them (PS3.5 6.2, annex A). They are of no use to the answer and must not cost it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST_UID: Final = 64
_DECIDING: Final = ("SpecificCharacterSet", "PixelRepresentation", "BitsAllocated", "WaveformBitsAllocated")
"""Elements that say how others of the same data set are encoded."""


def writable_copy(source: Dataset) -> Dataset:
    """A deep copy of the public elements that can be written in Explicit VR Little Endian.

    Group lengths, file meta elements, overlays, curves and the pixel data are left out too.
    """
    return _copy(source, {})


def put(dataset: Dataset, **values: Any) -> None:
    """Set elements, whatever a broken file had there: an assignment alone would keep the VR of what it replaces."""
    for keyword, value in values.items():
        if keyword in dataset:
            del dataset[keyword]
        setattr(dataset, keyword, value)


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element as text without padding; empty where it is missing, empty or no text."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
    except Exception:  # conversion throws whatever the bytes provoke
        return []
    values = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    return [str(each).strip(" \0") for each in values if each not in (None, "", b"") and not isinstance(each, bytes)]


def uid(dataset: Dataset, keyword: str) -> str | None:
    """The UID in an element, None where there is no valid one (PS3.5 9.1)."""
    found = texts(dataset, keyword)
    return found[0] if len(found) == 1 and len(found[0]) <= _LONGEST_UID and _UID.fullmatch(found[0]) else None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none where there is no such sequence."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
    except Exception:  # conversion throws whatever the bytes provoke
        return []
    return list(value) if isinstance(value, Sequence) else []


def _copy(source: Dataset, inherited: dict[str, DataElement]) -> Dataset:
    elements = dict(_readable(source))
    deciding = inherited | {keyword: each for each in elements.values() if (keyword := each.keyword) in _DECIDING}
    dataset = Dataset()
    for element in elements.values():
        if (copied := _writable(element, deciding)) is not None:
            dataset.add(copied)
    return dataset


def _readable(source: Dataset) -> Iterator[tuple[BaseTag, DataElement]]:
    for tag in list(source.keys()):  # iterating a data set converts each element and stops at a bad one
        overlay = 0x5000 <= tag.group <= 0x50FF or 0x6000 <= tag.group <= 0x60FF
        if tag.is_private or overlay or tag.element == 0 or tag.group <= 0x0007 or tag.group >= 0x7FE0:
            continue
        try:
            yield tag, copy.deepcopy(source[tag])
        except Exception:  # noqa: S112 - an element that cannot be read cannot be passed on
            continue


def _writable(element: DataElement, deciding: dict[str, DataElement]) -> DataElement | None:
    """The element as it will be written, None where it cannot be."""
    try:
        if element.VR == "SQ":
            return DataElement(element.tag, "SQ", Sequence([_copy(item, deciding) for item in element.value]))
        alone = Dataset()
        for each in (*deciding.values(), element):
            alone.add(copy.deepcopy(each))
        alone = correct_ambiguous_vr(alone, is_little_endian=True)
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = False, True
        write_dataset(stream, alone)
        found: DataElement = alone[element.tag]
    except Exception:  # the writer throws whatever the value provokes
        return None
    else:
        return found
