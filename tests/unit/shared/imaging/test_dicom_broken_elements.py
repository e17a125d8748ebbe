"""DICOM answers of files with elements that no library can convert: every VR, cut off, nested, implicit too."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from shared.imaging.dicom import read_ct
from shared.imaging.dicom_writing import derive_ct
from tests.unit.shared.imaging.conftest import BuildCt

LIMIT = 100_000
SEQUENCE = 0x00400275
VALUES = (b"\xff", b"\x80\xfe", b"nan\\-1e9999", b"\xff" * 7)
WRITTEN = (
    "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "ImageType", "Manufacturer",
    "ManufacturerModelName", "SoftwareVersions", "SeriesNumber", "SeriesDescription", "DerivationDescription",
    "DerivationCodeSequence", "ContributingEquipmentSequence", "SourceImageSequence", "ImageComments", "ContentDate",
    "LossyImageCompression", "TimezoneOffsetFromUTC", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "PixelSpacing", "ImagePositionPatient",
)  # fmt: skip


def encode(tag: int, vr: str, value: bytes, *, implicit: bool) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in EXPLICIT_VR_LENGTH_32:
        return head + vr.encode() + struct.pack("<HI", 0, len(value)) + value
    return head + vr.encode() + struct.pack("<H", len(value)) + value


def nest(element: bytes, *, implicit: bool) -> bytes:
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(element)) + element
    return encode(SEQUENCE, "SQ", item, implicit=implicit)


def tags_of(vr: str) -> list[int]:
    """Public elements of this VR in the dictionary, away from those that say what kind of image this is."""
    used = (0x0002, 0x0008, 0x0028, 0x7FE0)
    return [tag for tag, entry in DicomDictionary.items() if entry[0] == vr and tag >> 16 not in used and tag & 0xFFFF]


AMBIGUOUS = [tag for tag, entry in DicomDictionary.items() if " or " in entry[0] and tag >> 16 < 0x5000]


def elements(implicit: bool) -> Iterator[bytes]:
    """Each alone, as one that cannot be told apart from the next ends the file; those of ambiguous VR all together."""
    if implicit:
        yield from (b"".join(encode(tag, "", value, implicit=True) for tag in AMBIGUOUS) for value in VALUES)
    for vr in [*sorted(each.value for each in VR if len(each.value) == 2), "ZZ"]:
        tag = next(iter(tags_of(vr)), 0x00181030)
        yield from (encode(tag, vr, value, implicit=implicit) for value in VALUES)


def rewritten(data: bytes) -> NDArray[np.float32]:
    """A derived object of a file, which has to be one that can be read to the last element."""
    source = read_ct(data, limit_pixels=LIMIT)
    content = derive_ct(source, source.hu, series_description="-", derivation="-")
    dataset = pydicom.dcmread(io.BytesIO(content))
    assert len(list(dataset.iterall())) > 20
    assert dataset.ImageType[:2] == ["DERIVED", "SECONDARY"]
    return read_ct(content, limit_pixels=LIMIT).hu


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("nested", [False, True])
def test_broken_elements_cost_no_answer(syntax: str, nested: bool, build_ct: BuildCt) -> None:
    implicit = syntax == ImplicitVRLittleEndian
    plain = build_ct(syntax=syntax)
    right = read_ct(plain, limit_pixels=LIMIT).hu
    for element in elements(implicit):
        added = nest(element, implicit=implicit) if nested else element
        np.testing.assert_array_equal(rewritten(plain + added), right, err_msg=added.hex())


@pytest.mark.parametrize("keyword", WRITTEN)
def test_elements_that_are_written_anew_may_be_of_any_vr(keyword: str, build_ct: BuildCt) -> None:
    """What a broken file had there does not decide how the answer encodes it."""
    tag = pydicom.tag.Tag(keyword)
    plain = build_ct()
    for vr, value in (("FD", struct.pack("<d", 7)), ("US", b"\x07\x00"), ("OB", b"\x01\x02"), ("LO", b"\xff\\x")):
        rewritten(plain + encode(tag, vr, value, implicit=False))


@pytest.mark.parametrize(
    ("dtype", "value", "limit"),
    [("u1", 65535, None), ("i1", -200, None), ("u1", 65535, 250), ("i1", -200, -120), ("u2", 65535, None)],
)
def test_padding_that_the_container_cannot_hold(dtype: str, value: int, limit: int | None, build_ct: BuildCt) -> None:
    stored = np.arange(-120, 120).reshape(12, 20).clip(0 if dtype[0] == "u" else -128, None).astype(dtype)
    stored[0] = np.iinfo(dtype).max if value > 0 else np.iinfo(dtype).min
    more: dict[str, Any] = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    data = build_ct(stored, PixelPaddingValue=value, RescaleIntercept=-100, **more)
    source = read_ct(data, limit_pixels=LIMIT)
    answer = derive_ct(source, source.hu, series_description="-", derivation="-")
    again = read_ct(answer, limit_pixels=LIMIT)
    assert source.padding.any() == (limit is not None or dtype == "u2")
    np.testing.assert_array_equal(again.padding, source.padding)
    np.testing.assert_array_equal(again.hu, source.hu)
