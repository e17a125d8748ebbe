"""Command line: `python -m services.perception.detection.training.nanodet release` (or `measure`)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from services.perception.detection.training.nanodet.measure import measure
from services.perception.detection.training.nanodet.published import published_model
from services.perception.detection.training.nanodet.release import MODELS, NAME, VERSION, release, with_quality
from shared.command_line import add_data_option, add_threads_option
from shared.runtime.cards import read_card
from shared.runtime.models.releases import write_card
from shared.runtime.models.sessions import OnnxModel


def _measure(data: Path, threads: int) -> None:
    folder = MODELS / NAME / VERSION
    result = measure(OnnxModel.open(folder, threads=threads), data)
    write_card(with_quality(read_card(folder), result), folder)
    print(json.dumps(result, indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["release", "measure"], help="release needs npm and the network")
    add_data_option(parser)
    add_threads_option(parser, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.command == "release":
        print(release(published_model()))
    else:
        _measure(options.data, options.threads)


if __name__ == "__main__":
    main()
