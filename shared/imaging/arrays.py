"""NPY files, read by hand: nothing is allocated before the header is known to be honest, and no pickle is ever loaded.

NumPy's own reader evaluates the header and allocates what it claims. Here the claim is compared with a ceiling and
with the bytes that are really there first (NumPy NEP 1 describes the format).
"""

from __future__ import annotations

import ast
import io
import math
import mmap
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from shared.imaging.signatures import MediaType, require_type
from shared.problems import ContentTooLarge, FieldError, field_problem

HEADER_LIMIT: Final = 10_000
"""Most bytes of a header; NumPy writes 118 for an ordinary array and reads no more than this either."""

_MAGIC_BYTES: Final = 512
_DTYPE: Final = re.compile(r"(?P<order>[<>=|]?)(?P<kind>[fiub])(?P<size>[1248])")
_DTYPES: Final = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})
_LONGEST: Final = 2**63
_KEYS: Final = frozenset({"descr", "fortran_order", "shape"})


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def words(self) -> str:
        return f"{'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype.name}"


def decode_npy(
    data: bytes,
    *,
    limit_elements: int,
    dimensions: Collection[int] | None = None,
    pointer: str = "/body/file",
) -> NDArray[Any]:
    """Read an NPY file (format 1.0 to 3.0).

    Args:
        data: the whole file.
        limit_elements: most elements that are accepted.
        dimensions: the allowed numbers of dimensions; None allows all.
        pointer: the field to blame.

    Returns:
        A writable C-contiguous array in native byte order: float16/32/64, signed or unsigned integers, or bool.

    Raises:
        UnsupportedMediaType: not an NPY file.
        ContentTooLarge: more elements, or a longer header, than allowed; nothing has been allocated.
        UnprocessableContent: a damaged header, other dtypes or dimensions, or not as many bytes as the header states.
    """
    return _materialise(data, _checked_header(data, limit_elements, dimensions, pointer))


def map_npy(
    data: bytes | mmap.mmap,
    *,
    limit_elements: int,
    dimensions: Collection[int] | None = None,
    pointer: str = "/body/file",
) -> NDArray[Any]:
    """The array of an NPY file where it lies, for large files that are mapped into memory and read once.

    Arguments and errors as of `decode_npy`.

    Returns:
        A read-only array, in the order of the file and in native byte order; copied only where bytes are swapped and
        where it is of bool.
    """
    header = _checked_header(data, limit_elements, dimensions, pointer)
    view = _view(data, header)
    native = np.dtype(bool) if header.dtype.kind == "b" else header.dtype.newbyteorder("=")
    return view if view.dtype == native else view.astype(native)


def stated_elements(data: bytes) -> int:
    """How many elements the header of an NPY file states, be there so many or not.

    Raises:
        Problem: as `decode_npy`, of the header.
    """
    return _read_header(data, "/body").elements


def _checked_header(
    data: bytes | mmap.mmap, limit_elements: int, dimensions: Collection[int] | None, pointer: str
) -> _Header:
    require_type(data[:_MAGIC_BYTES], [MediaType.NPY], pointer=pointer)
    header = _read_header(data, pointer)
    if header.elements > limit_elements:
        raise _too_large(pointer, f"The header states {header.words}; at most {limit_elements} elements are accepted.")
    if dimensions is not None and len(header.shape) not in dimensions:
        wanted = " or ".join(map(str, sorted(dimensions)))
        raise field_problem(pointer, f"The array has {len(header.shape)} dimensions; {wanted} are needed.")
    if header.elements == 0:
        raise field_problem(pointer, f"The array is empty ({header.words}).")
    _require_size(data, header, pointer)
    return header


def encode_npy(array: NDArray[Any]) -> bytes:
    """Write an array as NPY 1.0.

    Raises:
        ValueError: an object array, which would need pickle.
    """
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def require_finite(array: NDArray[Any], *, pointer: str = "/body/file") -> None:
    """Check that no element is NaN or infinite.

    Raises:
        UnprocessableContent: some are; the detail says how many and where the first one is.
    """
    if array.dtype.kind != "f":
        return
    wrong = ~np.isfinite(array)
    count = int(np.count_nonzero(wrong))
    if count == 0:
        return
    first = [int(index) for index in np.unravel_index(int(np.argmax(wrong)), wrong.shape)]
    missing = int(np.count_nonzero(np.isnan(array)))
    detail = (
        f"{count} of {array.size} values are not finite ({missing} NaN, {count - missing} infinite); "
        f"the first is at index {first}."
    )
    raise field_problem(pointer, detail)


def _too_large(pointer: str, detail: str) -> ContentTooLarge:
    return ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def _read_header(data: bytes | mmap.mmap, pointer: str) -> _Header:
    version = data[6:8]
    if version not in {b"\x01\x00", b"\x02\x00", b"\x03\x00"}:
        raise field_problem(pointer, "The NPY format version is not 1.0, 2.0 or 3.0, or the file is cut off.")
    length_format = "<H" if version == b"\x01\x00" else "<I"
    start = 8 + struct.calcsize(length_format)
    if len(data) < start:
        raise field_problem(pointer, f"The file is cut off in its header, after {len(data)} bytes.")
    (length,) = struct.unpack(length_format, data[8:start])
    if length > HEADER_LIMIT:
        raise _too_large(pointer, f"The NPY header claims {length} bytes for itself; {HEADER_LIMIT} is the most.")
    if len(data) < start + length:
        raise field_problem(
            pointer, f"The file is cut off: {len(data) - start} of the {length} bytes of the NPY header."
        )
    encoding = "utf-8" if version == b"\x03\x00" else "latin-1"
    return _parse_header(data[start : start + length], encoding, start + length, pointer)


def _parse_header(text: bytes, encoding: str, offset: int, pointer: str) -> _Header:
    try:
        fields = ast.literal_eval(text.decode(encoding).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise field_problem(pointer, "The NPY header is not a Python dictionary literal.") from None
    if not isinstance(fields, dict) or set(fields) != _KEYS:
        raise field_problem(pointer, "The NPY header does not have exactly the keys descr, fortran_order and shape.")
    if not isinstance(fields["fortran_order"], bool):
        raise field_problem(pointer, "fortran_order in the NPY header is neither True nor False.")
    return _Header(
        dtype=_parse_dtype(fields["descr"], pointer),
        fortran_order=fields["fortran_order"],
        shape=_parse_shape(fields["shape"], pointer),
        offset=offset,
    )


def _parse_dtype(description: object, pointer: str) -> np.dtype[Any]:
    match = _DTYPE.fullmatch(description) if isinstance(description, str) else None
    if match is None or match["kind"] + match["size"] not in _DTYPES:
        named = f"{description!r}"[:40]
        raise field_problem(pointer, f"The dtype {named} is not accepted; use float16/32/64, (u)int8/16/32/64 or bool.")
    return np.dtype(cast("str", description))


def _parse_shape(shape: object, pointer: str) -> tuple[int, ...]:
    fits = isinstance(shape, tuple) and len(shape) <= 32
    if not fits or not all(
        type(length) is int and 0 <= length < _LONGEST for length in cast("tuple[object, ...]", shape)
    ):
        raise field_problem(pointer, "The shape in the NPY header is not a tuple of at most 32 natural numbers.")
    return cast("tuple[int, ...]", shape)


def _require_size(data: bytes | mmap.mmap, header: _Header, pointer: str) -> None:
    expected = header.elements * header.dtype.itemsize
    actual = len(data) - header.offset
    if actual == expected:
        return
    fault = "the file is cut off" if actual < expected else "there are bytes behind the array"
    detail = f"The header states {header.words}, {expected} bytes of data, but there are {actual} bytes; {fault}."
    raise field_problem(pointer, detail)


def _view(data: bytes | mmap.mmap, header: _Header) -> NDArray[Any]:
    # Booleans are read as bytes: anything but 0 and 1 in a NumPy bool is undefined behaviour.
    stored = np.dtype(np.uint8) if header.dtype.kind == "b" else header.dtype
    flat = np.frombuffer(data, stored, header.elements, header.offset)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _materialise(data: bytes, header: _Header) -> NDArray[Any]:
    target = np.dtype(bool) if header.dtype.kind == "b" else header.dtype.newbyteorder("=")
    return np.array(_view(data, header), dtype=target, order="C", copy=True)
