"""CSV as pandas, R, Excel and scikit-learn write it: separators, decimal commas, quotes, line ends, names and indices.

What a table means is decided by what is in it, never guessed: where a first line may be names or numbers, the number of
items decides if it is known, and otherwise the table is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from shared.problems import field_problem

_SAMPLE: Final = 64 * 1024
_SHOWN: Final = 40
_WHOLE: Final = re.compile(r"-?\d+")
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_INDEX_NAMES: Final = frozenset({"", "Unnamed: 0"})


@dataclass(frozen=True)
class Layout:
    """How a table is written.

    Attributes:
        separator: between cells; None is any white space.
        decimal_comma: numbers have a comma where others have a point.
        names: lines before the numbers, 0 or 1.
        index: the first column is an index or holds row names.
        columns: of numbers.
        doubtful: the first line is 0, 1, ... and may be names or numbers; `names` counts it as numbers.
    """

    separator: str | None
    decimal_comma: bool
    names: int
    index: bool
    columns: int
    doubtful: bool


@contextmanager
def open_text(stream: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The text of a stream from its beginning, any line ends, without a byte order mark; the stream stays open."""
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None)
    try:
        yield text
    finally:
        text.detach()


def find_layout(stream: BinaryIO, pointer: str) -> Layout:
    """Look at the first lines of a table.

    Raises:
        UnprocessableContent: no numbers, or no UTF-8.
    """
    with open_text(stream) as text:
        try:
            lines = [line for line in text.read(_SAMPLE).splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise field_problem(pointer, "The text is not UTF-8.") from None
    if len(lines) > 2 and text_is_cut(lines, _SAMPLE):
        lines.pop()  # the sample ends within it
    separator = _find_separator(lines)
    rows = [split_line(line, separator) for line in lines]
    if not rows:
        raise field_problem(pointer, "There are no numbers.")
    decimal_comma = separator not in {",", None} and any(_DECIMAL_COMMA.fullmatch(cell) for row in rows for cell in row)
    if separator is None and any(_DECIMAL_COMMA.fullmatch(cell) for row in rows for cell in row):
        decimal_comma = True
    names = 0 if _are_numbers(rows[0], decimal_comma=decimal_comma) else 1
    if names == len(rows):
        raise field_problem(pointer, "There are no numbers.")
    # R leaves the name of the row names out; pandas leaves it empty.
    short = names == 1 and len(rows[1]) == len(rows[0]) + 1
    index = short or (names == 1 and len(rows[0]) > 1 and rows[0][0] in _INDEX_NAMES)
    layout = Layout(separator, decimal_comma, names, index, len(rows[names]) - index, doubtful=False)
    return _judge_numeric_names(layout, rows, pointer) if not names else layout


def text_is_cut(lines: list[str], most: int) -> bool:
    """Whether the lines are so long together that the last of them may have been cut."""
    return sum(len(line) + 1 for line in lines) >= most


def _judge_numeric_names(layout: Layout, rows: list[list[str]], pointer: str) -> Layout:
    """Whether a first line of 0, 1, ..., as pandas names columns without names, is names.

    Raises:
        UnprocessableContent: three columns or more of whole numbers throughout, so that nothing tells.
    """
    if len(rows) < 2 or rows[0] != [str(place) for place in range(len(rows[0]))]:
        return layout
    others = [cell for row in rows[1:] for cell in row]
    if len(rows[0]) > 2 and not all(_WHOLE.fullmatch(cell) for cell in others):
        return Layout(layout.separator, layout.decimal_comma, 1, layout.index, layout.columns, doubtful=False)
    return Layout(layout.separator, layout.decimal_comma, 0, layout.index, layout.columns, doubtful=True)


def resolve_names(layout: Layout, array: NDArray[np.float64], count: int | None, pointer: str) -> NDArray[np.float64]:
    """Drop a doubtful first line if the number of items says so.

    Raises:
        UnprocessableContent: the number of items is not known.
    """
    if not layout.doubtful:
        return array
    if count is not None and len(array) == count + 1:
        return array[1:]
    if count is not None:
        return array
    raise field_problem(
        pointer,
        "The first line is 0, 1, ...: it may be the names of columns or an item. Write names that are no numbers, or "
        "numbers with a decimal point (0.0), or send NPY.",
    )


def read_rows(stream: BinaryIO, layout: Layout, pointer: str) -> NDArray[np.float64]:
    """The numbers of a table, float64 (rows, columns).

    Raises:
        UnprocessableContent: a cell that is no number, or rows of different lengths; the detail says where.
    """
    with open_text(stream) as text:
        lines = (line.replace(",", ".") for line in text) if layout.decimal_comma else text
        columns = range(int(layout.index), layout.columns + layout.index)
        try:
            return np.loadtxt(
                lines, np.float64, delimiter=layout.separator, comments=None, ndmin=2, skiprows=layout.names,
                quotechar='"', usecols=columns if layout.index else None,
            )  # fmt: skip
        except UnicodeDecodeError:
            raise field_problem(pointer, "The text is not UTF-8.") from None
        except ValueError as error:
            cause = str(error)
    raise field_problem(pointer, _find_fault(stream, layout) or f"The CSV cannot be read: {cause[:200]}")


def _find_fault(stream: BinaryIO, layout: Layout) -> str | None:
    """Where the first cell that is no number stands, or the first row of another length; lines count from 1."""
    with open_text(stream) as text:
        for number, line in enumerate(text, start=1):
            if number <= layout.names or not line.strip():
                continue
            row = split_line(line, layout.separator)[int(layout.index) :]
            if len(row) != layout.columns:
                return f"The CSV cannot be read: line {number} has {len(row)} cells, not {layout.columns}."
            for place, cell in enumerate(row, start=1):
                if not _are_numbers([cell], decimal_comma=layout.decimal_comma):
                    said = f"is no number: {cell[:_SHOWN]!r}" if cell else "is empty"
                    return f"The CSV cannot be read: line {number}, column {place + layout.index} {said}."
    return None


def split_line(line: str, separator: str | None) -> list[str]:
    """Cells of a line without their quotes and white space."""
    if separator is None:
        return [cell for cell in next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True), [""]) if cell]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [""])]


def _find_separator(lines: list[str]) -> str | None:
    """The separator that makes equal rows of the last lines: semicolons and tabs before commas, perhaps decimal."""
    last = lines[-1] if lines else ""
    for separator in (";", "\t", ","):
        if separator in last:
            return separator
    return None if len(split_line(last, None)) > 1 else ","


def _are_numbers(row: list[str], *, decimal_comma: bool) -> bool:
    try:
        for cell in row:
            float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return False
    return True
