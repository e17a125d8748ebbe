"""Large lists of texts in JSON, found and read piece by piece, as `large_numbers` does it for numbers.

A comma or bracket may be part of a text, so a list is cut where the quotation marks before are even in number. Only
flat lists of nothing but texts are read so; all else is left to the parser.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

_PIECE_BYTES: Final = 64 * 1024
_END: Final = re.compile(rb'"[ \t\r\n]*+\]')
"""A quotation mark with the end of a list behind it, if it ends a text and begins none."""


@dataclass(frozen=True, slots=True)
class TextList:
    """A list of texts as it stands in the JSON of a request.

    Attributes:
        text: with its brackets.
        ends: of its pieces, the last of which is that of the list.
    """

    text: bytes
    ends: tuple[int, ...]

    def parsed(self) -> Any:
        """As a parser reads it.

        Raises:
            orjson.JSONDecodeError: it is no JSON.
        """
        return orjson.loads(self.text)

    def array(self, count: int) -> NDArray[Any] | None:
        """The texts; None where there are not so many, or something else is among them.

        Raises:
            orjson.JSONDecodeError: one of them is no JSON.
        """
        found: NDArray[Any] = np.empty(count if count <= len(self.text) else 0, object)
        place, begin = 0, 1
        for end in self.ends:
            texts = orjson.loads(b"[" + self.text[begin : end - 1] + b"]")
            if place + len(texts) > len(found) or set(map(type, texts)) != {str}:
                return None
            found[place : place + len(texts)] = texts
            place, begin = place + len(texts), end
            time.sleep(0)  # others may have the interpreter
        return found if place == count == len(found) else None


def without_escapes(text: bytes | bytearray) -> bytes | bytearray:
    """A text as long as this one whose quotation marks all begin or end a text of JSON."""
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in text else text


def read_ends(text: bytes | bytearray, start: int) -> list[int]:
    """Where pieces of a list of texts end, behind a comma or the list's bracket; nothing where there is no end of it.

    Args:
        text: of a request, as `without_escapes` gives it.
        start: where the list's bracket stands.
    """
    ends: list[int] = []
    begin = start + 1
    while True:
        comma = _find_comma(text, begin)
        if (end := _find_end(text, begin, len(text) if comma < 0 else comma)) >= 0:
            return [*ends, end]
        if comma < 0:
            return []
        begin = comma + 1
        ends.append(begin)
        time.sleep(0)


def _find_comma(text: bytes | bytearray, begin: int) -> int:
    """The first comma between texts that leaves a piece of some size before it; -1 without one."""
    outside, comma = begin, text.find(b",", begin + _PIECE_BYTES)
    while comma >= 0 and text.count(b'"', outside, comma) % 2:
        outside = text.find(b'"', comma) + 1
        comma = text.find(b",", outside) if outside else -1
    return comma


def _find_end(text: bytes | bytearray, begin: int, end: int) -> int:
    """The place behind the list's bracket; -1 where it is not there."""
    marks, counted = 0, begin
    for found in _END.finditer(text, begin, end):
        marks += text.count(b'"', counted, found.start() + 1)
        counted = found.start() + 1
        if marks % 2 == 0:
            return found.end()
    return -1
