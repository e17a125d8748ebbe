"""DICOM files to pydicom data sets, bounded and quiet.

pydicom warns with the offending value in its text, which may be a patient's name; it also inflates the deflated
transfer syntax without a bound. Both are dealt with here, and nothing it raises reaches the caller's answer.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pydicom.config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from shared.imaging.signatures import MediaType, require_type
from shared.problems import ContentTooLarge, FieldError, Problem, UnsupportedMediaType, field_problem

INFLATED_LIMIT: Final = 256 * 1024 * 1024
"""Most bytes that a file in the deflated transfer syntax may inflate to."""

_META_START: Final = 132
_UID_PATTERN: Final = re.compile(r"[0-9.]{1,64}")
_lock = threading.RLock()

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


@contextmanager
def quiet() -> Iterator[None]:
    """Run pydicom without warnings. One thread at a time: the filters of `warnings` belong to the whole process."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse_dicom(data: bytes, *, pointer: str = "/body/file") -> Dataset:
    """Read a DICOM file (PS3.10) with its meta information in `file_meta`.

    Raises:
        UnsupportedMediaType: not a DICOM file, or one in an unknown transfer syntax.
        ContentTooLarge: a deflated file that inflates beyond INFLATED_LIMIT.
        UnprocessableContent: damaged; the detail never quotes the file.
    """
    require_type(data, [MediaType.DICOM], pointer=pointer)
    try:
        with quiet():
            return _parse(data, pointer)
    except Problem:
        raise
    except Exception:  # pydicom throws anything at damaged bytes; the text may hold a patient's data
        raise field_problem(pointer, "The DICOM file is cut off or damaged: its elements cannot be read.") from None


def unsupported_syntax(syntax: UID, pointer: str) -> UnsupportedMediaType:
    """The problem of a transfer syntax that cannot be decoded, by UID and name."""
    uid = str(syntax) if _UID_PATTERN.fullmatch(str(syntax)) else "(not a UID)"
    name = syntax.name if syntax.name != syntax else "unknown to DICOM"
    optional = " (the operator can add a decoder: the extra jpeg-extended)" if "JPEG Extended" in name else ""
    detail = f"The transfer syntax {uid} ({name}) cannot be decoded{optional}; send Explicit VR Little Endian."
    return UnsupportedMediaType(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def _outside_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def _parse(data: bytes, pointer: str) -> Dataset:
    stream = io.BytesIO(data)
    stream.seek(_META_START)
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_outside_meta)
    if "TransferSyntaxUID" not in meta:
        raise field_problem(pointer, "The DICOM file states no transfer syntax (0002,0010).")
    syntax = UID(str(meta.TransferSyntaxUID))
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise unsupported_syntax(syntax, pointer)
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = io.BytesIO(_inflate(data[stream.tell() :], pointer))
    dataset = read_dataset(stream, is_implicit_VR=syntax.is_implicit_VR, is_little_endian=syntax.is_little_endian)
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


def _inflate(deflated: bytes, pointer: str) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, INFLATED_LIMIT + 1)
    if len(inflated) > INFLATED_LIMIT:
        detail = f"The deflated DICOM file inflates to more than {INFLATED_LIMIT} bytes."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    if not inflater.eof:
        raise field_problem(pointer, "The deflated DICOM file is cut off.")
    return inflated
