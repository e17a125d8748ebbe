"""Options that the command lines of trainings and evaluations share."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from shared.settings import get_settings


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """`--data`, the folder of data sets; that of the settings unless given, None where they name none."""
    parser.add_argument("--data", type=Path, default=get_settings().data, help="data sets (default: FACET_DATA)")


def add_threads_option(parser: argparse.ArgumentParser, *, default: int = 2, about: str = "CPU threads") -> None:
    """`--threads`."""
    parser.add_argument("--threads", type=int, default=default, help=about)


def add_minutes_option(parser: argparse.ArgumentParser) -> None:
    """`--minutes`, for evaluations that go on another time from what is finished; `deadline_of` reads it."""
    about = "after which nothing further is begun"
    parser.add_argument("--minutes", type=float, default=float("inf"), help=about)


def deadline_of(options: argparse.Namespace) -> float:
    """The reading of `time.monotonic` from which on nothing further is begun."""
    return time.monotonic() + 60 * float(options.minutes)
