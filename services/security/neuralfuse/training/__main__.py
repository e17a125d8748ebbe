"""Command line of training, release and evaluation: `python -m services.security.neuralfuse.training --help`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from services.security.neuralfuse.training import plan
from services.security.neuralfuse.training.base_networks import BASE_NETWORKS
from services.security.neuralfuse.training.base_training import BaseRecipe, BaseTraining
from services.security.neuralfuse.training.exports import read_base
from services.security.neuralfuse.training.generator_training import (
    CONSTANT_SHIFT,
    GeneratorRecipe,
    GeneratorTraining,
)
from services.security.neuralfuse.training.generators import GENERATORS
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from services.security.neuralfuse.training.release import (
    COMMAND,
    base_name,
    release_base,
    release_generator,
    released_file,
)
from services.security.neuralfuse.training.runs import read_base_network, read_fuse, read_record
from shared.command_line import add_data_option, add_threads_option
from shared.datasets.traffic_signs import FOLDER, Signs, read_training, split_by_track

_CHOICES = {"network": sorted(BASE_NETWORKS), "base": sorted(BASE_NETWORKS), "generator": [*GENERATORS, CONSTANT_SHIFT]}


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    add_data_option(whole)
    add_threads_option(whole)
    commands = whole.add_subparsers(dest="command", required=True)
    base = commands.add_parser("train-base", help="train a classifier; an unfinished run is resumed")
    _add_recipe(base, BaseRecipe)
    base.set_defaults(act=_train_base)
    generator = commands.add_parser("train-generator", help="train a generator; an unfinished run is resumed")
    _add_recipe(generator, GeneratorRecipe)
    generator.set_defaults(act=_train_generator)
    everything = commands.add_parser("all", help="train and release everything; finished runs stay, others are resumed")
    everything.add_argument("--out", type=Path, default=Path("runs/neuralfuse"), help="folder of all runs")
    everything.set_defaults(act=_train_all)
    for name, release in (("release-base", release_base_run), ("release-generator", release_generator_run)):
        released = commands.add_parser(name, help="make the released folder of a finished run")
        released.add_argument("run", type=Path, help="folder of the run")
        released.set_defaults(act=lambda options, release=release: print(release(options.run)))
    return whole


def _add_recipe(command: argparse.ArgumentParser, recipe: type[BaseRecipe | GeneratorRecipe]) -> None:
    command.add_argument("--out", type=Path, required=True, help="folder of the run")
    for field in fields(recipe):
        name = f"--{field.name.replace('_', '-')}"
        kind: Any = type(field.default)
        command.add_argument(name, type=kind, default=field.default, choices=_CHOICES.get(field.name))


def _recipe_values(options: argparse.Namespace, recipe: type[BaseRecipe | GeneratorRecipe]) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in fields(recipe)}


def _split(options: argparse.Namespace) -> tuple[Signs, Signs]:
    return split_by_track(read_training(options.data / FOLDER))


def _train_base(options: argparse.Namespace) -> None:
    _base_run(BaseRecipe(**_recipe_values(options, BaseRecipe)), _split(options), options.out)


def _train_generator(options: argparse.Namespace) -> None:
    _generator_run(GeneratorRecipe(**_recipe_values(options, GeneratorRecipe)), _split(options), options.out)


def _base_run(recipe: BaseRecipe, split: tuple[Signs, Signs], folder: Path) -> None:
    start = read_base_network(folder.parent / recipe.start) if recipe.start else None
    BaseTraining(recipe, *split, folder, start=start).run()


def _generator_run(recipe: GeneratorRecipe, split: tuple[Signs, Signs], folder: Path) -> None:
    base = read_base(released_file(base_name(recipe.base)), recipe.base)
    start = read_fuse(folder.parent / recipe.start) if recipe.start else None
    GeneratorTraining(recipe, base, *split, folder, start=start).run()


def _train_all(options: argparse.Namespace) -> None:
    split, runs = _split(options), options.out
    for name, base in plan.BASES.items():
        _base_run(base, split, runs / name)
        release_base_run(runs / name)
    for name, generator in plan.GENERATORS.items():
        _generator_run(generator, split, runs / name)
        if name in plan.RELEASED_GENERATORS:
            release_generator_run(runs / name)
    for name, base in plan.RETRAINED.items():
        _base_run(base, split, runs / name)


def release_base_run(run: Path) -> Path:
    """Release the classifier of a finished run; returns the released folder."""
    network = PerturbedNetwork(read_base_network(run))
    return release_base(network, read_record(run, f"{COMMAND} train-base"))


def release_generator_run(run: Path) -> Path:
    """Release the generator of a finished run; returns the released folder."""
    return release_generator(read_fuse(run), read_record(run, f"{COMMAND} train-generator"))


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.act(options)


if __name__ == "__main__":
    main()
