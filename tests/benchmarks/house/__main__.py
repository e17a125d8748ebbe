"""Print the figures and write them to house.md: `python -m tests.benchmarks.house`."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from services.declarations import SERVICES
from tests.benchmarks.house.duplicates import LEAST_LINES, duplicates
from tests.benchmarks.house.graph import graph_figures
from tests.benchmarks.house.request_paths import request_paths
from tests.benchmarks.house.sizes import read_modules, sizes

ROOT = SERVICES.parent
REPORT = Path(__file__).parents[1] / "house.md"
CODE = ("deploy", "gateway", "services", "shared")

EARLIER = {
    "code lines / modules": "46,032 / 394",
    "module lines: median / p90 / max": "107 / 218 / 335",
    "function lines: median / p95 / max": "6 / 19 / 61",
    "functions over 40 lines": "3 of 2694",
    "public names with docstring": "95 %",
    "modules with docstring": "100 %",
    "functions fully annotated": "100 %",
    "type: ignore per 1000 lines": "0.4",
    "tests : code (lines)": "0.68",
    "test functions": "1580",
    "imports of a module: p95 / most": "- / 47 (gateway.app)",
    "imported most": "shared.problems, by 103",
    "circles of files": "1",
    "circles of packages": "2",
    "files of a sinogram upload -> JSON": "54 (250 functions, 1,028 calls)",
    "files of a `/v2` tensor": "35 (170 functions, 333 calls)",
}
"""Of the same figures before capabilities declared themselves."""

AIMS = {
    "tests : code (lines)": "1.0",
    "circles of files": "none",
    "circles of packages": "none",
    "files of a sinogram upload -> JSON": "30",
    "files of a `/v2` tensor": "20",
}

_EXPLANATION = (
    "Written by `make house`. Modules are those of deploy, gateway, services and shared; functions are counted without "
    "their docstrings; files, functions and calls of a request are those of gateway and service together, in warm "
    "processes, without the server on the gateway's socket."
)


def figures() -> tuple[dict[str, str], list[str]]:
    """All figures by what they are of, and what is listed below them."""
    code, tests = read_modules(ROOT / part for part in CODE), read_modules([ROOT / "tests"])
    table = sizes(code, tests) | graph_figures({part: ROOT / part for part in CODE})
    pairs = duplicates(code)
    table[f"duplicates of {LEAST_LINES} lines or more"] = f"{len(pairs)} pairs, the longest of {pairs[0].lines} lines"
    listed = ["", "## The longest duplicates", ""]
    for pair in pairs[:10]:
        places = (f"{path.relative_to(ROOT)}:{line}" for path, line in (pair.one, pair.other))
        listed.append(f"- {pair.lines} lines: " + " and ".join(places))
    for name, path in asyncio.run(request_paths()).items():
        table[f"files of a {name}"] = f"{len(path.files)} ({path.functions} functions, {path.calls:,} calls)"
        listed += ["", f"## Files of a {name}", "", *(f"- {file}" for file in path.files)]
    return table, listed


def report(table: dict[str, str], listed: list[str]) -> str:
    """The page."""
    lines = [
        "# The code in figures",
        "",
        _EXPLANATION,
        "",
        "| figure | now | earlier | aim |",
        "|---|---|---|---|",
        *(f"| {name} | {value} | {EARLIER.get(name, '')} | {AIMS.get(name, '')} |" for name, value in table.items()),
        *listed,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    logging.disable(logging.CRITICAL)
    text = report(*figures())
    REPORT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
