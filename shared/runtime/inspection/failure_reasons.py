"""What onnxruntime says of a graph that it cannot open or compute, fit for the eyes of whoever sent it.

Its messages hold codes, paths and C++ signatures of its own source, which are no business of a caller's. Loads nothing,
so that processes without onnxruntime can say what another one was told.
"""

from __future__ import annotations

import re
import textwrap
from typing import Final

NEEDS_ELEMENTS: Final = "needs_elements"
"""Begins the names of nodes that fail in the place of an operator that cannot compute nothing (`runtime.hazards`)."""

_CHARACTERS: Final = 400
_NODE: Final = re.compile(r"while running (\w+) node")
_WITHOUT_ELEMENTS: Final = re.compile(rf"Name:'{NEEDS_ELEMENTS}_*\d+_(\w+)'")
_CODE: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |Exception during initialization: ")
_ARGUMENTS = r"\([^()]*(?:\([^()]*\)[^()]*)*\)"
_SOURCE: Final = re.compile(
    r"\S*\.(?:cc|cpp|h|hpp):\d+ "  # the file and its line
    rf"(?:(?:[^()\s]+ )*[^()\s]*::[^()\s]*{_ARGUMENTS}(?:::\S*)?(?: const)? |[A-Z]\w+ (?=[A-Z]))?"  # the function
)
_CONDITION: Final = re.compile(r"^[^.:]* was false\. (?=\S)")
_PATH: Final = re.compile(r"(?<![\w.])(?:/[\w.+-]+){2,}")
_WORDS_OF_CPP: Final = re.compile(r"^sto(?:d|f|i|l|ld|ll|ul|ull)$")
_NOT_KNOWN: Final = re.compile(
    r'In Node, \(.*?, (?P<operator>\w+), "(?P<domain>[\w.]*)", '
    r".* Error No Op registered for \w+ with domain_version of (?P<opset>\d+)"
)
_NOT_REGISTERED: Final = re.compile(r"(?P<domain>[\w.]+):(?P<operator>\w+)\(-?\d+\) is not a registered function/op")
_LOCALE: Final = re.compile(r"Failed to construct locale with name:(?P<locale>[\w.@-]+)")


def reason_of(failure: Exception | str) -> str:
    """The reason in a line, the operator in front where one failed; cut at the end of a word.

    Args:
        failure: what onnxruntime raised, or the text of it.
    """
    said = " ".join(str(failure).split())
    if (advice := _advice(said)) is not None:
        return advice
    if (needy := _WITHOUT_ELEMENTS.search(said)) is not None:
        return f"{needy[1]}: its input is empty, and it takes none that is"
    node = _NODE.search(said)
    reason = said.partition("Status Message: ")[2] if node else said
    for unwanted in (_CODE, _SOURCE, _CODE, _SOURCE, _CONDITION):  # a status within a status
        reason = unwanted.sub("", reason)
    reason = _WORDS_OF_CPP.sub("a text is no number", _PATH.sub("...", reason).strip())
    reason = textwrap.shorten(reason, _CHARACTERS, placeholder=" ...")
    return f"{node[1]}: {reason}" if node else reason


def _advice(said: str) -> str | None:
    """What to do about failures of which the message is a riddle; None for others."""
    if (found := _NOT_KNOWN.search(said)) is not None:
        place = f"opset {found['opset']} of {found['domain'] or 'ai.onnx'}"
        return f"There is no operator {found['operator']} in {place}. If a later opset has it, export with that one"
    if (found := _NOT_REGISTERED.search(said)) is not None:
        return f"There is no operator {found['operator']} of {found['domain']} here"
    if (found := _LOCALE.search(said)) is not None:
        return (
            f"StringNormalizer: this machine has no locale {found['locale']}. Give the node the attribute "
            "locale='C.UTF-8', or ask the operator of this fleet to install that locale"
        )
    return None
