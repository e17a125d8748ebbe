"""Command line of the measurements: `python -m services.uncertainty.conformal.evaluation evaluate [SECTION ...]`."""

from __future__ import annotations

import argparse
import json
import time

from services.uncertainty.conformal.evaluation.report import EVALUATION, REPORT, SECTIONS, render, section
from shared.command_line import add_data_option


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog="python -m services.uncertainty.conformal.evaluation", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True)
    evaluated = commands.add_parser("evaluate", help="measure sections, all by default, and write the report")
    evaluated.add_argument("sections", nargs="*", choices=[[], *SECTIONS], help=", ".join(SECTIONS))
    add_data_option(evaluated)
    evaluated.set_defaults(act=_evaluate)
    return whole


def _evaluate(options: argparse.Namespace) -> None:
    """Measured sections replace their former figures; the others stay as they were."""
    for name in options.sections or SECTIONS:
        began = time.monotonic()
        figures = section(name).measure(options.data)
        figures["seconds"] = round(time.monotonic() - began, 1)
        record = json.loads(EVALUATION.read_text(encoding="utf-8")) if EVALUATION.exists() else {}
        EVALUATION.write_text(json.dumps({**record, name: figures}, indent=2) + "\n", encoding="utf-8")
        print(f"{name}: {figures['seconds']} s")
    REPORT.write_text(render(json.loads(EVALUATION.read_text(encoding="utf-8"))), encoding="utf-8")
    print(REPORT)


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    options.act(options)


if __name__ == "__main__":
    main()
