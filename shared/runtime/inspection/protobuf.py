"""Protocol Buffers' wire format, read with every length checked: what must not be trusted is never handed to a parser.

Only what files of models need: fields of one message, as numbers and as views of the bytes, nothing copied.
Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LONGEST_VARINT: Final = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}


class MalformedMessage(ValueError):
    """The bytes are no message, or a larger one than is read."""


@dataclass(slots=True)
class Budget:
    """Fields that may still be read of a file, so that one of many tiny fields takes no minutes."""

    fields: int

    def spend(self) -> None:
        """Read one more.

        Raises:
            MalformedMessage: none is left.
        """
        self.fields -= 1
        if self.fields < 0:
            raise MalformedMessage("it has more fields than are read of a model")


@dataclass(frozen=True, slots=True)
class Message:
    """The fields of one message, in their order.

    Attributes:
        numbers: values of varint fields, unsigned, by field number.
        parts: contents of length-delimited fields, by field number.
        order: field numbers as they came.
    """

    numbers: Mapping[int, Sequence[int]]
    parts: Mapping[int, Sequence[memoryview]]
    order: Sequence[int]

    def number(self, field: int, default: int = 0) -> int:
        """The value of a field that occurs once: the last one given, as a signed number of 64 bits."""
        values = self.numbers.get(field)
        if not values:
            return default
        return values[-1] - (1 << 64) if values[-1] >> 63 else values[-1]

    def text(self, field: int) -> str:
        """The last value of a text; empty where there is none.

        Raises:
            MalformedMessage: it is no UTF-8.
        """
        values = self.parts.get(field)
        return _decoded(values[-1]) if values else ""

    def texts(self, field: int) -> list[str]:
        """All values of a repeated text."""
        return [_decoded(value) for value in self.parts.get(field, ())]

    def merged(self, field: int) -> memoryview | None:
        """The content of an embedded message that occurs once; several occurrences are merged, as the format says."""
        values = self.parts.get(field)
        if not values:
            return None
        return values[0] if len(values) == 1 else memoryview(b"".join(values))


def read_message(data: memoryview, budget: Budget) -> Message:
    """Read the fields of a message.

    Args:
        data: all of it.
        budget: fields that may be read yet.

    Raises:
        MalformedMessage: a length leads beyond the end, a number is too long, or a field has a type that is none.
    """
    numbers: dict[int, list[int]] = defaultdict(list)
    parts: dict[int, list[memoryview]] = defaultdict(list)
    order: list[int] = []
    place = 0
    while place < len(data):
        budget.spend()
        key, place = _varint(data, place)
        field, kind = key >> 3, key & 7
        if not 0 < field < 1 << 29:
            raise MalformedMessage("it has a field without a valid number")
        order.append(field)
        if kind == _VARINT:
            value, place = _varint(data, place)
            numbers[field].append(value)
            continue
        size, place = (_FIXED[kind], place) if kind in _FIXED else _length(data, place, kind)
        if size > len(data) - place:
            raise MalformedMessage("a field is longer than what is left of the file")
        if kind == _BYTES:
            parts[field].append(data[place : place + size])
        place += size
    return Message(dict(numbers), dict(parts), order)


def _length(data: memoryview, place: int, kind: int) -> tuple[int, int]:
    if kind != _BYTES:
        raise MalformedMessage("a field has a type that is not used in models")
    return _varint(data, place)


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    for count in range(LONGEST_VARINT):
        if place + count >= len(data):
            raise MalformedMessage("it ends within a number")
        byte = data[place + count]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, place + count + 1
        shift += 7
    raise MalformedMessage("a number is longer than ten bytes")


def _decoded(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage("a name in it is no UTF-8") from None
