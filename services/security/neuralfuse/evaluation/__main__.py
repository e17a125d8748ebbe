"""Command line of the measurements: `python -m services.security.neuralfuse.evaluation [SECTION ...]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.security.neuralfuse.evaluation import exact, protection, queries
from services.security.neuralfuse.evaluation.cards import write_quality
from services.security.neuralfuse.evaluation.report import EVALUATION, REPORT, render
from shared.command_line import add_data_option

_SECTIONS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "exact": lambda _: exact.measure(),
    "protection": lambda options: protection.measure_own(options.data, options.every),
    "transfer": lambda options: protection.measure_transfer(options.data, options.every),
    "queries": lambda options: queries.measure(options.data, options.every, options.runs),
    "alternatives": lambda options: protection.measure_alternatives(options.data, options.every, options.runs),
}

_OF_RELEASES: Mapping[str, bool] = {"protection": True, "transfer": False}
"""Sections whose figures go into cards, and whether into those of the generators too."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    whole = argparse.ArgumentParser(prog="python -m services.security.neuralfuse.evaluation", description=__doc__)
    whole.add_argument("sections", nargs="*", choices=[[], *_SECTIONS], help=f"{', '.join(_SECTIONS)}; all by default")
    add_data_option(whole)
    whole.add_argument("--every", type=int, default=1, help="measure on each n-th test picture only")
    whole.add_argument("--runs", type=Path, default=Path("runs/neuralfuse"), help="folder of finished runs")
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Measured sections replace their former figures; the others stay as they were."""
    options = parser().parse_args(arguments)
    for name in options.sections or _SECTIONS:
        began = time.monotonic()
        figures = _SECTIONS[name](options)
        figures["seconds"] = round(time.monotonic() - began, 1)
        record = json.loads(EVALUATION.read_text(encoding="utf-8")) if EVALUATION.exists() else {}
        EVALUATION.write_text(json.dumps({**record, name: figures}, indent=2) + "\n", encoding="utf-8")
        if name in _OF_RELEASES:
            write_quality(figures, generators=_OF_RELEASES[name])
        print(f"{name}: {figures['seconds']} s")
    REPORT.write_text(render(json.loads(EVALUATION.read_text(encoding="utf-8"))), encoding="utf-8")
    print(REPORT)


if __name__ == "__main__":
    main()
