"""Names of classes beside YOLO labels: `names` in data.yaml, or one a line in classes.txt and obj.names.

Of YAML only what this key takes is read, which spares serving a YAML library: a list or a map from numbers, each in
brackets or one entry a line, with quotes and comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.perception.detection.annotations.model import SHOWN
from shared.detectors.roles import MOST_CLASSES

_KEY: Final = re.compile(r"^(names|nc)[ \t]*:(?:[ \t]+|$)(.*)$")
_TOKEN: Final = re.compile(
    r"""[ \t\r\n]+ | (?:(?<=[ \t\n,\[{])|^)\#[^\n]*
    | '(?P<single>(?:[^']|'')*)' | "(?P<double>(?:[^"\\]|\\.)*)"
    | (?P<mark>[\[\]{},]|:(?=[ \t\r\n,\[\]{}]|$))
    | (?P<plain>[^ \t\r\n,\[\]{}:'"\#](?:[^,\[\]{}\r\n:\#]|:(?=\S)|(?<!\s)\#)*)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"""'(?:[^']|'')*'(?!')|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_MOST_LINES: Final = 100
"""That a quoted name goes on over; writers break it after 80 characters."""
_COMMENT: Final = re.compile(r"\s#.*")
_PAIR: Final = re.compile(r"""(['"]?)([0-9]{1,6})\1[ \t]*:[ \t]+(.*)\Z""")
_NUMBER: Final = re.compile(r"[0-9]{1,6}\Z")
_FOLD: Final = re.compile(r"(?<!\\)[ \t]*\r?\n[ \t]*")
"""The end of a line within quotes, which stands for a space."""
_ESCAPE: Final = re.compile(
    r"\\(?:\r?\n[ \t]*|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U(00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4})|(.))"
)
_LETTERS: Final = {"n": "\n", "t": "\t", "_": "\N{NO-BREAK SPACE}", "N": "\N{NEXT LINE}", "e": "\x1b"}
_ENDS: Final = {"[": "]", "{": "}"}


class UnreadableNames(ValueError):
    """Names that are not written in a way that is read here; says in which, as the end of a sentence about the file."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    mark: bool = False
    """Whether it is a bracket, comma or colon of YAML."""


def names_of_yaml(text: str) -> list[str] | None:
    """The value of the key `names`, by class number.

    Args:
        text: a YAML document, of which other keys are passed over but for `nc`, the number of classes.

    Returns:
        None if it has no such key.

    Raises:
        UnreadableNames: the value is none of the forms above, numbers are missing, or `nc` is another number.
    """
    lines = text.splitlines()
    values = {found[1]: (index, found[2]) for index, line in enumerate(lines) if (found := _KEY.match(line))}
    if "names" not in values:
        return None
    index, rest = values["names"]
    opening = rest.lstrip()[:1]
    if opening in _ENDS:
        names = _inline("\n".join([rest, *lines[index + 1 :]]))
    elif rest.strip() and not rest.lstrip().startswith("#"):
        raise UnreadableNames("has neither a list nor a map as `names`")
    else:
        names = _block(lines[index + 1 :])
    _require_count(names, values.get("nc", (0, ""))[1])
    return names


def names_of_lines(text: str) -> list[str]:
    """Names of classes.txt or obj.names: one a line, by class number; empty lines at the end count for nothing.

    Raises:
        UnreadableNames: an empty line among them.
    """
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise UnreadableNames(f"has no name in line {names.index('') + 1}")
    return names


def _require_count(names: Sequence[str], stated: str) -> None:
    count = stated.split("#", maxsplit=1)[0].strip()
    if _NUMBER.match(count) and int(count) != len(names):
        raise UnreadableNames(f"has {len(names)} names, and {count} classes as `nc`")


def _inline(text: str) -> list[str]:
    """Entries of [a, b] or {0: a, 1: b}, up to the closing bracket."""
    tokens = _tokens(text)
    opening = next(tokens).text
    entries: list[list[_Token]] = [[]]
    for token in tokens:
        if token.mark and token.text == _ENDS[opening]:
            break
        if token.mark and token.text == ",":
            entries.append([])
        elif token.mark and token.text != ":":
            raise UnreadableNames(f"has a {token.text!r} within `names`")
        else:
            entries[-1].append(token)
    else:
        raise UnreadableNames(f"has `names` without the closing {_ENDS[opening]!r}")
    if not entries[-1]:  # a comma before the closing bracket
        entries.pop()
    if opening == "{":
        return _by_number([_pair(entry) for entry in entries])
    return [_single(entry) for entry in entries]


def _block(lines: Sequence[str]) -> list[str]:
    """Entries `- a` or `0: a`, one a line but for quotes that go on, until a line that begins with another key."""
    listed: list[str] = []
    pairs: list[tuple[int, str]] = []
    rest = iter(lines)
    for line in rest:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        pair = _PAIR.match(text)
        if text == "-" or text.startswith("- "):
            listed.append(_scalar(_closed(text[1:].strip(), rest)))
        elif line[0] not in " \t":
            break
        elif pair is None:
            raise UnreadableNames(f"has {text[:SHOWN]!r} in `names`, which is neither - name nor 0: name")
        else:
            pairs.append((int(pair[2]), _scalar(_closed(pair[3], rest))))
    if listed and pairs:
        raise UnreadableNames("mixes a list and a map in `names`")
    return listed or _by_number(pairs)


def _closed(text: str, rest: Iterator[str]) -> str:
    """A name with the lines that its quotes go on over, which are taken from the rest."""
    for _ in range(_MOST_LINES):
        if text[:1] not in {"'", '"'} or _QUOTED.match(text):
            break
        text = f"{text}\n{next(rest, '')}"
    return text


def _scalar(text: str) -> str:
    """A name that goes on to the end of its line, in quotes or not."""
    if text[:1] in {"'", '"', "[", "{"}:
        return _single(list(_tokens(text)))
    return _COMMENT.sub("", f" {text}").strip()


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise UnreadableNames(f"has {text[place : place + SHOWN]!r} in `names`; put names in quotes")
        place = found.end()
        match found.lastgroup:
            case "mark":
                yield _Token(found["mark"], mark=True)
            case "plain":
                yield _Token(found["plain"].strip())
            case "single":
                yield _Token(_FOLD.sub(" ", found["single"]).replace("''", "'"))
            case "double":
                yield _Token(_ESCAPE.sub(_unescape, _FOLD.sub(" ", found["double"])))


def _unescape(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    letter = escape[4] or ""  # none where a line goes on
    return chr(int(digits, 16)) if digits else _LETTERS.get(letter, letter)


def _single(tokens: Sequence[_Token]) -> str:
    if not tokens or any(token.mark for token in tokens):
        raise UnreadableNames(f"has {_written(tokens)!r} as an entry of `names`, which is not one name")
    return " ".join(token.text for token in tokens)  # a name that goes on in the next line


def _pair(tokens: Sequence[_Token]) -> tuple[int, str]:
    if len(tokens) < 3 or not tokens[1].mark or not _NUMBER.match(tokens[0].text):
        raise UnreadableNames(f"has {_written(tokens)!r} as an entry of `names`, which is not of the form 0: name")
    return int(tokens[0].text), _single(tokens[2:])


def _written(tokens: Sequence[_Token]) -> str:
    return " ".join(token.text for token in tokens)[:SHOWN]


def _by_number(pairs: Sequence[tuple[int, str]]) -> list[str]:
    numbers = [number for number, _ in pairs]
    if len(numbers) > MOST_CLASSES or sorted(numbers) != list(range(len(numbers))):
        raise UnreadableNames(f"has `names` whose numbers are not 0 to {max(len(numbers) - 1, 0)}, each once")
    return [name for _, name in sorted(pairs)]
