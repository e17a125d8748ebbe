"""Labels out of posted files, as texts: CSV of one column, NPY and Parquet, of texts or numbers."""

from __future__ import annotations

import csv
import io
import math
from typing import Final

import numpy as np
import numpy.lib.format as npy_format

from services.uncertainty.conformal.http.table_readers import (
    INFLATED_BYTES,
    INFLATION,
    NPY_MAGIC,
    PARQUET_MAGIC,
    TableFile,
    content_too_large,
    data_columns,
    read_head,
    read_numbers,
    require_text,
)
from shared.problems import ContentTooLarge, UnprocessableContent, field_problem

_TEXTS_AT_ONCE: Final = 100_000
_TEXT_BYTES: Final = 64 * 1024 * 1024
_BYTES_OF_TEXT: Final = 64
"""What a short text takes in memory."""


def read_texts(file: TableFile, *, limit: int, count: int | None = None) -> list[str]:
    """Labels (n,) of a CSV file of one column, a line each, or of NPY or Parquet of texts or numbers.

    Errors are those of `read_numbers`.
    """
    head = read_head(file)
    texts = _read_npy_texts(file) if head.startswith(NPY_MAGIC) else None
    if head.startswith(PARQUET_MAGIC):
        texts = _read_parquet_texts(file, limit)
    if texts is not None:
        if len(texts) > limit:
            raise content_too_large(file.pointer, f"The file has {len(texts)} labels; at most {limit} are accepted.")
        return texts
    if head.startswith((NPY_MAGIC, PARQUET_MAGIC)):
        numbers = read_numbers(file, dimensions=1, limit=limit)
        # Whole numbers that were stored as floats are the labels that JSON and CSV would write.
        whole = numbers.dtype.kind == "f" and bool((numbers == np.rint(numbers)).all())
        return [str(one) for one in (numbers.astype(np.int64) if whole else numbers).tolist()]
    require_text(head, file.pointer)
    if file.size > _TEXT_BYTES:
        raise content_too_large(file.pointer, "The file of labels is larger than 64 MiB.")
    try:
        lines = [line.strip() for line in file.stream.read().decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise field_problem(file.pointer, "The text is not UTF-8.") from None
    if len(lines) > limit:
        raise content_too_large(file.pointer, f"The file has {len(lines)} lines; at most {limit} are accepted.")
    rows = [next(csv.reader([line])) for line in lines]
    # The index that pandas and R write before the labels has an empty name, or none.
    if rows and len(rows[-1]) == 2 and (len(rows[0]) == 1 or rows[0][0] in {"", "Unnamed: 0"}):
        rows = [row[-1:] for row in rows]
    if any(len(row) != 1 for row in rows):
        raise field_problem(file.pointer, "One column is expected, but there are commas.")
    texts = [row[0].strip() for row in rows]
    return texts[1:] if count is not None and len(texts) == count + 1 else texts


def _read_npy_texts(file: TableFile) -> list[str] | None:
    """Texts of an NPY file (n,) or (n, 1); None if it holds something else, which its reader then judges."""
    content = file.stream.read(_TEXT_BYTES + 1)
    file.stream.seek(0)
    stream = io.BytesIO(content)
    try:
        read = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
        shape, _, dtype = read[npy_format.read_magic(stream)](stream)
    except (KeyError, ValueError):
        return None
    count = math.prod(shape)
    if dtype.kind != "U" or shape not in {(count,), (count, 1)} or not count:
        return None
    if stream.tell() + count * dtype.itemsize != len(content):
        raise field_problem(file.pointer, "The NPY file of texts is damaged, or larger than 64 MiB.")
    texts: list[str] = np.frombuffer(content, dtype, count, stream.tell()).tolist()
    return texts


def _read_parquet_texts(file: TableFile, limit: int) -> list[str] | None:
    """Texts of the one column of a Parquet file; None if it is of numbers, or not readable here."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile

        table = ParquetFile(file.stream)
        names = data_columns(table)
        kind = table.schema_arrow.field(names[0]).type if len(names) == 1 else None
        kind = kind.value_type if kind is not None and pyarrow.types.is_dictionary(kind) else kind
        if kind is None or not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            return None
        rows = table.metadata.num_rows
        if not 0 <= rows * _BYTES_OF_TEXT <= INFLATED_BYTES + INFLATION * file.size:
            raise content_too_large(file.pointer, f"The file has {file.size} bytes and {rows} labels. Post it as NPY.")
        texts: list[str] = []
        for batch in table.iter_batches(batch_size=_TEXTS_AT_ONCE, columns=names):
            if batch.column(0).null_count:
                raise field_problem(file.pointer, "The Parquet file has empty cells.")
            texts += batch.column(0).to_pylist()
            if len(texts) > min(limit, rows):  # the footer's count is but a claim
                break
    except (UnprocessableContent, ContentTooLarge):
        raise
    except Exception:  # as of numbers, whose reader names the fault
        return None
    else:
        return texts
    finally:
        file.stream.seek(0)
