"""Command line of training: `python -m services.medical.chest_xray.training --help`."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import torch

from services.medical.chest_xray.training.cards import Origin
from services.medical.chest_xray.training.data.manifest import SPLITS, Split
from services.medical.chest_xray.training.exports import export_network
from services.medical.chest_xray.training.figures import measure_run
from services.medical.chest_xray.training.networks.options import Logits
from services.medical.chest_xray.training.plan import RELEASE, RUNS
from services.medical.chest_xray.training.release import MODELS, release
from services.medical.chest_xray.training.stages.films import FilmFolder
from services.medical.chest_xray.training.stages.recipes import Recipe, shorten
from services.medical.chest_xray.training.stages.run import TrainingRun, read_run
from services.training.packages import published_weights
from shared.command_line import add_data_option, add_threads_option

COMMAND = "python -m services.medical.chest_xray.training"


class Workspace:
    """Data and runs of one command.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.runs: Path = options.out
        self.films = FilmFolder(options.data, options.out / "cache")
        self.device: str = options.device
        self.epochs: int | None = options.epochs
        self.fold: int | None = options.fold

    def prepare(self, name: str) -> None:
        """Prepare all films of a run and insert findings, once."""
        for split in ("train", "val", "test"):
            print(split, len(self.films.films(self.recipe(name), split)), "films")
            print(split, len(self.films.simulated(self.recipe(name), split)), "films with inserted findings")

    def train(self, name: str) -> None:
        """Train a run of the plan; a finished one is left as it is, an unfinished one is resumed."""
        recipe = self.recipe(name)
        weights = published_weights() if recipe.network.first == "lite0" else None
        finished = TrainingRun(recipe, self.folder(name), self.films, weights=weights, device=self.device).run()
        print(name, f"{finished.hours:.2f} hours")

    def measure(self, name: str, split: Split) -> None:
        """Write the figures of a run on a split into its folder, and print them."""
        recipe = self.recipe(name)
        run = read_run(self.folder(name), recipe)
        said = json.dumps(measure_run(run, self.films, recipe, split), indent=2)
        (self.folder(name) / f"{split}.json").write_text(said + "\n", encoding="utf-8")
        print(name, split, said)

    def export(self, name: str, head: Logits) -> None:
        """Write network.onnx into the folder of a run, or encoder.onnx with the first encoder's own logits."""
        run = read_run(self.folder(name), self.recipe(name))
        file = self.folder(name) / ("network.onnx" if head == "fusion" else "encoder.onnx")
        file.write_bytes(export_network(run.network, run.calibration, head=head))
        print(file)

    def release(self, name: str, models: Path, machine: str) -> None:
        """Write the released folder of a finished run."""
        recipe = self.recipe(name)
        origin = Origin(recipe, machine, f"{COMMAND} train {name}")
        print(release(read_run(self.folder(name), recipe), origin, self.films, models=models))

    def folder(self, name: str) -> Path:
        """Of a run; of a fold it is another."""
        return self.runs / (name if self.fold is None else f"{name}-fold{self.fold}")

    def recipe(self, name: str) -> Recipe:
        """Of the plan, shortened and for a fold where that was asked for."""
        recipe = RUNS[name] if self.epochs is None else shorten(RUNS[name], self.epochs)
        return recipe if self.fold is None else replace(recipe, fold=self.fold)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=Path("runs/chest-xray"), help="folder of runs and prepared films")
    add_threads_option(whole)
    whole.add_argument("--device", default="cpu", help="that torch trains on, as cuda")
    whole.add_argument("--epochs", type=int, help="of each stage at most, instead of the plan's, for a trial")
    whole.add_argument("--fold", type=int, help="of five by patient, instead of the manifest's splits")
    commands = whole.add_subparsers(dest="command", required=True)
    for name, about in (
        ("prepare", "prepare films and insert findings, which training otherwise does first"),
        ("train", "train runs; finished ones stay, others are resumed"),
        ("measure", "measure runs"),
        ("export", "write the ONNX files of runs, for evaluation"),
        ("release", "write the released folder of a finished run, measured as it is served"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("run", nargs="*", choices=[*RUNS, []], help=f"default: {RELEASE}")
        if name == "measure":
            command.add_argument("--split", default="test", choices=SPLITS, help="that is measured")
        elif name == "export":
            command.add_argument("--head", default="fusion", choices=("fusion", "encoder"), help="whose logits")
        elif name == "release":
            command.add_argument("--models", type=Path, default=MODELS, help="folder that is released into")
            trained_on = f"{platform.machine()} CPU, shared with other work"
            command.add_argument("--machine", default=trained_on, help="that the run was trained on, in words")
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    workspace = Workspace(options)
    for name in options.run or [RELEASE]:
        if options.command == "prepare":
            workspace.prepare(name)
        elif options.command == "train":
            workspace.train(name)
        elif options.command == "measure":
            workspace.measure(name, options.split)
        elif options.command == "export":
            workspace.export(name, options.head)
        else:
            workspace.release(name, options.models, options.machine)


if __name__ == "__main__":
    main()
