"""Command line of training: `python -m services.security.camouflage.training --help`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from services.security.camouflage.training.data import read_photographs
from services.security.camouflage.training.diffusion_training import DiffusionTraining, Recipe
from services.security.camouflage.training.release import release
from shared.command_line import add_data_option, add_threads_option

COMMAND = "python -m services.security.camouflage.training"


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=Path("runs/camouflage"), help="folder of the run")
    add_threads_option(whole)
    commands = whole.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the diffusion model; an unfinished run is resumed")
    train.add_argument("--device", default="cpu", help="cpu or cuda")
    for field in fields(Recipe):
        kind: Any = type(field.default)
        train.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    train.set_defaults(act=_train)
    released = commands.add_parser("release", help="make the released folder of a finished run")
    released.set_defaults(act=_release)
    return whole


def _train(options: argparse.Namespace) -> None:
    recipe = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe)})
    DiffusionTraining(recipe, *read_photographs(options.data), options.out, options.device).run()


def _release(options: argparse.Namespace) -> None:
    print(release(options.out, *read_photographs(options.data), COMMAND))


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.act(options)


if __name__ == "__main__":
    main()
