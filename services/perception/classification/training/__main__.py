"""Command line of the training: `python -m services.perception.classification.training --help`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import torch

from services.perception.classification.training.data import read_training, split_by_track
from services.perception.classification.training.network import WIDTHS
from services.perception.classification.training.train import Recipe, Training
from shared.settings import get_settings

FOLDER = "traffic-signs"


def parser() -> argparse.ArgumentParser:
    """All options."""
    options = argparse.ArgumentParser(prog="python -m services.perception.classification.training", description=__doc__)
    options.add_argument("--data", type=Path, default=get_settings().data, help="data sets (default: FACET_DATA)")
    options.add_argument("--out", type=Path, default=Path("runs/traffic-signs"), help="an unfinished run is resumed")
    options.add_argument("--threads", type=int, default=2, help="CPU threads")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    for field in fields(Recipe):
        choices = sorted(WIDTHS) if field.name == "width" else None
        name = f"--{field.name.replace('_', '-')}"
        options.add_argument(name, type=type(field.default), default=field.default, choices=choices)
    return options


def main(arguments: list[str] | None = None) -> None:
    """Train."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    recipe = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe)})
    training, validation = split_by_track(read_training(options.data / FOLDER), seed=recipe.seed)
    Training(recipe, training, validation, options.out, device=options.device).run()


if __name__ == "__main__":
    main()
