"""Lines that stand in two places: windows of equal lines, as pylint's `duplicate-code` looks for them.

Imports, docstrings, comments and blank lines do not count, nor do lines of brackets alone.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.house.sizes import Module

LEAST_LINES = 8
_BRACKETS = frozenset("()[]{},: ")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """As many equal lines in two files, and where they begin."""

    lines: int
    one: tuple[Path, int]
    other: tuple[Path, int]


def counted_lines(module: Module) -> list[tuple[int, str]]:
    """Number and text of the lines that count."""
    skipped: set[int] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ):
            skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    numbered = enumerate((line.strip() for line in module.source.splitlines()), start=1)
    return [
        (number, line)
        for number, line in numbered
        if number not in skipped and not line.startswith("#") and set(line) - _BRACKETS
    ]


def duplicates(modules: Sequence[Module], *, least: int = LEAST_LINES) -> list[Duplicate]:
    """All of at least so many lines, the longest first; what a longer one covers is not named again."""
    texts = [counted_lines(module) for module in modules]
    places: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for index, text in enumerate(texts):
        for start in range(len(text) - least + 1):
            places[tuple(line for _, line in text[start : start + least])].append((index, start))
    found: list[Duplicate] = []
    for group in places.values():
        for at, one in enumerate(group):
            found += [
                _extend(modules, texts, one, other, least) for other in group[at + 1 :] if _begins(texts, one, other)
            ]
    return sorted(found, key=lambda one: (-one.lines, one.one, one.other))


def _begins(texts: Sequence[list[tuple[int, str]]], one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the lines before differ, and the two do not lie over each other."""
    (first, start), (second, begin) = one, other
    if first == second and begin - start < LEAST_LINES:
        return False
    return not start or not begin or texts[first][start - 1][1] != texts[second][begin - 1][1]


def _extend(
    modules: Sequence[Module],
    texts: Sequence[list[tuple[int, str]]],
    one: tuple[int, int],
    other: tuple[int, int],
    least: int,
) -> Duplicate:
    (first, start), (second, begin) = one, other
    length = least
    longest = min(len(texts[first]) - start, len(texts[second]) - begin)
    while length < longest and texts[first][start + length][1] == texts[second][begin + length][1]:
        length += 1
    return Duplicate(
        length,
        (modules[first].path, texts[first][start][0]),
        (modules[second].path, texts[second][begin][0]),
    )
