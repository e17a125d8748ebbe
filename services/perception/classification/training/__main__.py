"""Command line of training, release and evaluation: `python -m services.perception.classification.training --help`."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

import torch

from services.perception.classification.training.evaluate import evaluate
from services.perception.classification.training.network import WIDTHS
from services.perception.classification.training.release import MODELS, NAME, VERSION, release, with_quality
from services.perception.classification.training.train import Recipe, Training
from services.perception.classification.training.weights import keep, load
from shared.command_line import add_data_option, add_threads_option
from shared.datasets.traffic_signs import FOLDER, Signs, read_test, read_training, split_by_track
from shared.runtime.cards import read_card
from shared.runtime.models.releases import write_card
from shared.runtime.models.sessions import OnnxModel


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog="python -m services.perception.classification.training", description=__doc__)
    add_data_option(whole)
    add_threads_option(whole)
    commands = whole.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train; an unfinished run is resumed")
    train.add_argument("--out", type=Path, default=Path("runs/traffic-signs"), help="folder of the run")
    train.add_argument("--device", default="cpu", help="cpu or cuda")
    for field in fields(Recipe):
        choices = sorted(WIDTHS) if field.name == "width" else None
        name = f"--{field.name.replace('_', '-')}"
        train.add_argument(name, type=type(field.default), default=field.default, choices=choices)
    train.set_defaults(act=_train)
    kept = commands.add_parser("keep", help="turn a finished run into the committed half-precision checkpoint")
    kept.add_argument("run", type=Path, help="folder of the run")
    kept.set_defaults(act=lambda options: print(keep(options.run)))
    exported = commands.add_parser("export", help="make the released model of the committed checkpoint")
    exported.set_defaults(act=_export)
    evaluated = commands.add_parser("evaluate", help="measure the released model; fills its card")
    evaluated.set_defaults(act=_evaluate)
    return whole


def _split(options: argparse.Namespace, seed: int) -> tuple[Signs, Signs]:
    return split_by_track(read_training(options.data / FOLDER), seed=seed)


def _train(options: argparse.Namespace) -> None:
    recipe = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe)})
    training, validation = _split(options, recipe.seed)
    Training(recipe, training, validation, options.out, device=options.device).run()


def _export(options: argparse.Namespace) -> None:
    network, record = load()
    _, validation = _split(options, record["recipe"]["seed"])
    print(release(network, record, validation))


def _evaluate(options: argparse.Namespace) -> None:
    folder = MODELS / NAME / VERSION
    model = OnnxModel.open(folder, threads=options.threads)
    result = evaluate(model, read_test(options.data / FOLDER))
    write_card(with_quality(read_card(folder), result), folder)
    print(json.dumps(result, indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.act(options)


if __name__ == "__main__":
    main()
