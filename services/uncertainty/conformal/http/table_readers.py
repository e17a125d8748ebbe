"""Arrays out of posted files: NPY, CSV and Parquet, by their first bytes and never by their names.

Large NPY files stay where the upload put them, on disk, and are mapped: memory holds what is looked at. What a file
claims is compared with a ceiling before anything of that size is allocated.
"""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.uncertainty.conformal.http.csv_tables import find_layout, open_text, read_rows, resolve_names
from shared.imaging.arrays import map_npy
from shared.imaging.signatures import describe, sniff
from shared.problems import ContentTooLarge, FieldError, UnprocessableContent, UnsupportedMediaType, field_problem

NPY_MAGIC: Final = b"\x93NUMPY"
PARQUET_MAGIC: Final = b"PAR1"
_HEAD: Final = 512
_CHUNK: Final = 1024 * 1024
_LINE: Final = 1024 * 1024
_BATCH: Final = 1_000_000
INFLATED_BYTES: Final = 64 * 1024 * 1024
INFLATION: Final = 32
"""Parquet of so many numbers as bytes, and a multiple of the file's size, is read: constant columns take no room."""
_NO_TABLES: Final = (b"{", b"[", b"<", b"%PDF", b"%!PS", b"GIF8", b"#!")
_MAPPED_BYTES: Final = 1024 * 1024
"""Smaller files are read; a mapping would not pay."""

WITHOUT_PARQUET: Final = (
    "This service reads no Parquet: the optional package pyarrow is not installed (pip install 'facet[parquet]'). "
    "Send NPY or CSV."
)


@dataclass(frozen=True, slots=True)
class TableFile:
    """A posted file.

    Attributes:
        stream: at its beginning, readable from any thread, one at a time; with a descriptor if it is large.
        size: bytes.
        pointer: the field to blame.
    """

    stream: BinaryIO
    size: int
    pointer: str


def read_numbers(file: TableFile, *, dimensions: int | None, limit: int, count: int | None = None) -> NDArray[Any]:
    """The numbers of a file.

    Args:
        file: NPY; CSV with or without a line of names; Parquet with columns of numbers.
        dimensions: 1 or 2; None for 2 or more, and truth values will do. A table of one column or row is a vector where
            1 is asked for.
        limit: most numbers.
        count: rows that there should be, if that is known.

    Returns:
        (n,) or (n, k); from NPY in the file's own type and read-only, from CSV float64, from Parquet the widest type
        of its columns.

    Raises:
        UnsupportedMediaType: none of the three, or Parquet where its reader is not installed.
        ContentTooLarge: more numbers than the limit.
        UnprocessableContent: damaged, other dimensions, or a cell that is no number.
    """
    head = read_head(file)
    if head.startswith(NPY_MAGIC):
        array = map_npy(
            _mapped(file), limit_elements=limit, dimensions=(1, 2) if dimensions else None, pointer=file.pointer
        )
    elif head.startswith(PARQUET_MAGIC):
        array = _read_parquet(file, limit)
    else:
        require_text(head, file.pointer)
        array = _read_csv(file, limit, count)
    return _shaped(array, dimensions, file.pointer)


def read_head(file: TableFile) -> bytes:
    """Read the first bytes of a file, which say what it is; an empty one is an UnprocessableContent."""
    file.stream.seek(0)
    head = file.stream.read(_HEAD)
    file.stream.seek(0)
    if not head:
        raise field_problem(file.pointer, "The file is empty.")
    return head


def _mapped(file: TableFile) -> bytes | mmap.mmap:
    if file.size < _MAPPED_BYTES:
        return file.stream.read()
    try:
        return mmap.mmap(file.stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (io.UnsupportedOperation, OSError):
        return file.stream.read()


def require_text(head: bytes, pointer: str) -> None:
    """Refuse a file that is no text; an UnsupportedMediaType."""
    if sniff(head) is None and not head.lstrip().startswith(_NO_TABLES) and _is_text(head):
        return
    detail = f"This is {describe(head)}, not NPY, CSV or Parquet; the content counts, not the name of the file."
    raise UnsupportedMediaType(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def _is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8 without control characters; the last character may be cut."""
    try:
        text = head[:-3].decode("utf-8-sig") if len(head) == _HEAD else head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return len(head) == _HEAD and error.start >= _HEAD - 7
    return not any(character < " " and character not in "\t\r\n" for character in text)


def _read_csv(file: TableFile, limit: int, count: int | None) -> NDArray[np.float64]:
    commas, lines = _count_csv(file)
    if commas + lines > limit + 2 * _LINE:
        raise content_too_large(
            file.pointer, f"The file has about {commas + lines} numbers; at most {limit} are accepted."
        )
    layout = find_layout(file.stream, file.pointer)
    if layout.names and not _has_more(file):
        raise field_problem(file.pointer, "There are no numbers.")
    array = resolve_names(layout, read_rows(file.stream, layout, file.pointer), count, file.pointer)
    if array.size > limit:
        raise content_too_large(file.pointer, f"The file has {array.size} numbers; at most {limit} are accepted.")
    return array


def _has_more(file: TableFile) -> bool:
    """Whether anything but white space follows the first line; on none NumPy would only warn."""
    with open_text(file.stream) as text:
        text.readline(_LINE)
        return any(line.strip() for line in text)


def _count_csv(file: TableFile) -> tuple[int, int]:
    commas = lines = 0
    while chunk := file.stream.read(_CHUNK):
        commas += max(chunk.count(separator) for separator in (b",", b";", b"\t", b" "))
        lines += chunk.count(b"\n")
    return commas, lines


def _read_parquet(file: TableFile, limit: int) -> NDArray[Any]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UnsupportedMediaType(
            WITHOUT_PARQUET, errors=[FieldError(pointer=file.pointer, detail=WITHOUT_PARQUET)]
        ) from None
    try:
        return _read_batches(ParquetFile(file.stream), file, limit)
    except (UnprocessableContent, ContentTooLarge):
        raise
    except Exception:  # pyarrow throws errors of many types at damaged files
        raise field_problem(file.pointer, "The Parquet file cannot be read: it is damaged.") from None


def _read_batches(table: Any, file: TableFile, limit: int) -> NDArray[Any]:
    """Fill one array (rows, columns), batch by batch: the footer's count is but a claim, checked while reading."""
    names = data_columns(table)
    rows, width = table.metadata.num_rows, len(names)
    if not 0 <= rows * width <= limit:
        raise content_too_large(file.pointer, f"The file has more than {limit} numbers.")
    if not rows or not width:
        raise field_problem(file.pointer, "The Parquet file has no rows.")
    types = [table.schema_arrow.field(name).type.to_pandas_dtype() for name in names]
    dtype = np.result_type(*types)
    inflated = rows * width * dtype.itemsize
    if inflated > INFLATED_BYTES + INFLATION * file.size:
        detail = (
            f"The file has {file.size} bytes and {inflated // 2**20} MiB of numbers, more than {INFLATION} times as "
            "much. Post it as NPY."
        )
        raise content_too_large(file.pointer, detail)
    out = np.empty((rows, width), dtype)
    start = 0
    for batch in table.iter_batches(batch_size=max(1, _BATCH // width), columns=names):
        end = start + batch.num_rows
        if end > rows:
            raise field_problem(file.pointer, "The Parquet file has more rows than it says.")
        for place, column in enumerate(batch.columns):
            out[start:end, place] = _column(column, file.pointer)
        start = end
    if start < rows:
        raise field_problem(file.pointer, "The Parquet file has fewer rows than it says.")
    return out


def data_columns(table: Any) -> list[str]:
    """Names of the columns but for those that pandas wrote its index to."""
    names: list[str] = table.schema_arrow.names
    metadata = (table.schema_arrow.metadata or {}).get(b"pandas")
    if metadata is None:
        return names
    index = orjson.loads(metadata).get("index_columns", [])
    return [name for name in names if name not in index]


def _column(column: Any, pointer: str) -> NDArray[Any]:
    if column.null_count:
        raise field_problem(pointer, "The Parquet file has empty cells.")
    try:
        values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    except (TypeError, ValueError):
        values = np.empty(0, np.object_)
    if values.dtype.kind not in "fiu":
        raise field_problem(pointer, f"A column of the Parquet file is of type {column.type}, not of numbers.")
    return values


def _shaped(array: NDArray[Any], dimensions: int | None, pointer: str) -> NDArray[Any]:
    if not array.size:
        raise field_problem(pointer, "There are no numbers.")
    if array.dtype.kind not in ("fiu" if dimensions else "fiub"):
        raise field_problem(pointer, f"Numbers are needed, not {array.dtype.name}.")
    if dimensions is None and array.ndim >= 2:
        return array
    if dimensions == 1 and array.ndim == 2 and 1 in array.shape:
        return array.reshape(-1)
    if array.ndim != dimensions:
        needed = "one column" if dimensions == 1 else "a table (items, columns)"
        raise field_problem(pointer, f"The shape is {array.shape}; {needed} is needed.")
    return array


def content_too_large(pointer: str, detail: str) -> ContentTooLarge:
    """The problem of a file that is too large."""
    return ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
