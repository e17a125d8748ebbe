"""Large lists of numbers in JSON, read and written piece by piece; of texts, see `large_texts`.

A parser of JSON holds the interpreter's lock until it is done, in whatever thread it runs, and makes an object of each
number. So the large lists of a request are cut out of its text first: what is left is parsed as ever, and the lists are
read in pieces of a millisecond, between which the thread lets others go on. Whatever is not plainly a list of numbers
with the request's own shape is left to the parser, so that nothing is read in another way than it would be.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.inference_protocol.large_texts import TextList, read_ends, without_escapes

Array = NDArray[Any]

LARGE_BYTES: Final = 64 * 1024
"""Of a request's JSON, from which on it is worth a thread."""

LARGE_ELEMENTS: Final = 16 * 1024
"""Of an answer's lists, likewise; and of a piece of them."""

_DATA: Final = re.compile(rb'"data"\s*:\s*\[')
_TEXT: Final = re.compile(rb'[ \t\r\n]*"')
_SPACE: Final = b" \t\r\n"
_NUMBERS: Final = bytes.maketrans(b"123456789+-.eEnul", b"0" * 17)
"""Every character of a number, and of null, is a 0."""

_WITHOUT_BRACKETS: Final = bytes.maketrans(b"[]", b"  ")


@dataclass(frozen=True, slots=True)
class NumberText:
    """A list of numbers as it stands in the JSON of a request."""

    text: bytes

    def parsed(self) -> Any:
        """As a parser reads it.

        Raises:
            orjson.JSONDecodeError: it is no JSON.
        """
        return orjson.loads(self.text)

    def array(self, shape: Sequence[int], dtype: Any, read: Callable[[list[Any]], Array]) -> Array | None:
        """The numbers as an array of this shape; None where they are to be read in the usual way.

        Args:
            shape: of the tensor; the list is flat, or nested as this says.
            dtype: of the array.
            read: makes an array of a flat list, or raises.
        """
        # No memory is taken for more numbers than can stand in the text.
        found = np.empty(math.prod(shape) if 0 < math.prod(shape) <= len(self.text) else 0, dtype)
        place, skeleton = 0, bytearray()
        for piece in _pieces(self.text):
            numbers, marks = _flat(piece), _marks(piece)
            if numbers is None or marks is None or place + len(numbers) > len(found):
                return None
            found[place : place + len(numbers)] = read(numbers)
            place += len(numbers)
            skeleton += marks
            time.sleep(0)  # others may have the interpreter
        return found.reshape(shape) if skeleton in _skeletons(shape) else None


LargeList = NumberText | TextList
"""A list that was cut out of a request's text."""


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text, cut behind commas; each piece but the last ends with one."""
    begin = 0
    while begin < len(text):
        comma = text.find(b",", begin + LARGE_BYTES)
        end = len(text) if comma < 0 else comma + 1
        yield text[begin:end]
        begin = end


def _flat(piece: bytes) -> list[Any] | None:
    try:
        numbers: list[Any] = orjson.loads(b"[" + piece.translate(_WITHOUT_BRACKETS).removesuffix(b",") + b"]")
    except orjson.JSONDecodeError:
        return None
    return numbers


def _marks(piece: bytes) -> bytes | None:
    """Brackets and commas of a piece; None where a bracket stands beside a number and not beside a comma."""
    if b"[" not in piece and b"]" not in piece:
        return b"," * piece.count(b",")
    marks = piece.translate(_NUMBERS, _SPACE)
    return None if b"0[" in marks or b"]0" in marks else marks.translate(None, b"0")


def _skeletons(shape: Sequence[int]) -> tuple[bytes, bytes]:
    """Brackets and commas of a flat list and of a nested one."""
    nested = b""
    for side in reversed(shape):
        nested = b"[" + (nested + b",") * (side - 1) + nested + b"]"
    return b"[" + b"," * (math.prod(shape) - 1) + b"]", nested


def parse_request(text: bytes | bytearray) -> Any:
    """Parse the JSON of a request; a large list under `data` of an input is a `NumberText` or a `TextList`.

    Raises:
        orjson.JSONDecodeError: it is no JSON.
    """
    found = list(_lists(text)) if len(text) > LARGE_BYTES else []
    if not found:
        return orjson.loads(text)
    lists: dict[str, LargeList] = {}
    parts, begin = [], 0
    for start, cut_out in found:
        mark = secrets.token_hex(16)
        lists[mark] = cut_out
        parts += [text[begin:start], b'"', mark.encode(), b'"']
        begin = start + len(cut_out.text)
    try:
        document = orjson.loads(b"".join([*parts, text[begin:]]))
    except orjson.JSONDecodeError:
        return orjson.loads(text)
    return document if _put_back(document, lists) else orjson.loads(text)


def _lists(text: bytes | bytearray) -> Iterator[tuple[int, LargeList]]:
    """Large lists behind "data", and where they begin; they may be no JSON, and within a text."""
    place, plain = 0, without_escapes(text)
    while (place := text.find(b'"data"', place)) >= 0:
        begun = _DATA.match(text, place)
        place += 1
        if begun is None:
            continue
        start = begun.end() - 1
        found = _texts(text, plain, start) if _TEXT.match(text, start + 1) else _numbers(text, start)
        if found is not None:
            yield start, found
            place = start + len(found.text)


def _texts(text: bytes | bytearray, plain: bytes | bytearray, start: int) -> TextList | None:
    ends = read_ends(plain, start)
    if not ends or ends[-1] - start <= LARGE_BYTES:
        return None
    return TextList(bytes(text[start : ends[-1]]), tuple(end - start for end in ends))


def _numbers(text: bytes | bytearray, start: int) -> NumberText | None:
    """A list without texts and objects."""
    ends = [end for end in (text.find(b'"', start), text.find(b"}", start)) if end >= 0]
    end = text.rfind(b"]", start, min(ends, default=len(text))) + 1
    return NumberText(bytes(text[start:end])) if end - start > LARGE_BYTES else None


def _put_back(document: Any, lists: dict[str, LargeList]) -> bool:
    """Whether each list stood where the data of an input does; they are put there."""
    inputs = document.get("inputs") if isinstance(document, dict) else None
    left = dict(lists)
    for item in inputs if isinstance(inputs, list) else ():
        mark = item.get("data") if isinstance(item, dict) else None
        if isinstance(mark, str) and mark in left:
            item["data"] = left.pop(mark)
    return not left


def render_answer(document: dict[str, Any]) -> bytes:
    """An answer as JSON, where `data` of an output may be an array or a list; large ones are written in pieces."""
    lists: dict[bytes, Any] = {}
    for item in document["outputs"]:
        if len(item.get("data", ())) > LARGE_ELEMENTS:
            mark = secrets.token_hex(16)
            lists[mark.encode()], item["data"] = item["data"], mark
    parts = [orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)]
    for encoded, elements in lists.items():
        before, _, after = parts.pop().partition(b'"' + encoded + b'"')
        parts += [before, b"[", *_rendered(elements), b"]", after]
    return b"".join(parts)


def _rendered(elements: Any) -> Iterator[bytes]:
    for begin in range(0, len(elements), LARGE_ELEMENTS):
        piece = orjson.dumps(elements[begin : begin + LARGE_ELEMENTS], option=orjson.OPT_SERIALIZE_NUMPY)
        yield (b"," if begin else b"") + piece[1:-1]
        time.sleep(0)
