"""The sections of the evaluation, and the page that is made of their figures."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any, Protocol, cast

EVALUATION = Path(__file__).parent / "evaluation.json"
REPORT = Path(__file__).parents[1] / "report.md"
"""Beside the code, made of the figures by `make evaluate-conformal`."""

SECTIONS = ("classification", "regression", "online", "losses", "graphs", "language")
"""In the order of the page. The section `name` is the module `evaluate_name` beside this one."""

Record = dict[str, Any]


class Section(Protocol):
    """The functions of a module that measures one section."""

    def measure(self, data: Path) -> Record:
        """The figures, JSON; `data` is the folder of data sets."""
        ...

    def render(self, record: Record) -> list[str]:
        """Lines of Markdown that begin with a heading of the second level."""
        ...

    def findings(self, record: Record) -> list[str]:
        """Write the findings, a sentence or two each, for the head of the page."""
        ...


def section(name: str) -> Section:
    """The module of a section."""
    return cast("Section", import_module(f"{__package__}.evaluate_{name}"))


def render(record: Record) -> str:
    """The whole page, Markdown, of the sections that were measured."""
    measured = {name: section(name) for name in SECTIONS if name in record}
    lines = ["# Conformal prediction, measured", "", "Written by `make evaluate-conformal`.", ""]
    lines += ["## What holds and what does not", ""]
    for name, one in measured.items():
        lines += [_point(found) for found in one.findings(record[name])]
    for name, one in measured.items():
        lines += ["", *one.render(record[name])]
    return "\n".join(lines).rstrip() + "\n"


def _point(found: str) -> str:
    """An item of a list, its lines broken before no percent sign."""
    return fill(found.replace(" %", "\N{NO-BREAK SPACE}%"), 120, initial_indent="- ", subsequent_indent="  ")


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def head(*cells: str) -> list[str]:
    """The first two rows of a table."""
    return [row(*cells), row(*("---" for _ in cells))]
