"""Command line of training: `python -m services.perception.detection.training --help`."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import torch

from services.perception.detection.optimisation.construction import read_detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.training.cards import Origin, baseline_of
from services.perception.detection.training.data import SPLITS, DetectionSet, read_detection_set
from services.perception.detection.training.evaluate import evaluate
from services.perception.detection.training.harden import STEPS, Hardening, make_recipe, open_release
from services.perception.detection.training.hardening_sets import read_hardening_set
from services.perception.detection.training.plan import RUNS, PlannedRun
from services.perception.detection.training.release import MODELS, Parts, read_finished, release
from services.perception.detection.training.train import CHECKPOINT, DetectionRecipe, DetectorTraining
from services.training.packages import published_weights
from shared.command_line import add_data_option, add_threads_option
from shared.settings import get_settings

COMMAND = "python -m services.perception.detection.training"


class Workspace:
    """Data and runs of one command.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.data: Path = options.data
        self.runs: Path = options.out
        self.iterations: int | None = options.iterations
        self.device: str = options.device

    def train(self, name: str) -> None:
        """Train a run of the plan; a finished one is left as it is, an unfinished one is resumed."""
        planned = RUNS[name]
        recipe = self._recipe(planned)
        weights = published_weights() if recipe.detector.backbone.kind == "lite0" else None
        sets = [self._read(planned, "train")]
        DetectorTraining(recipe, sets, self.runs / name, weights=weights, device=self.device).run()

    def measure(self, name: str, split: str) -> None:
        """Write the figures of a run on a split into its folder, and print them."""
        detector, _ = read_detector(self.runs / name / CHECKPOINT)
        figures = json.dumps(evaluate(detector.to(self.device), self._read(RUNS[name], split)).as_dict(), indent=2)
        (self.runs / name / f"{split}.json").write_text(figures, encoding="utf-8")
        print(name, split, figures)

    def export(self, name: str) -> None:
        """Write detector.onnx into the folder of a run."""
        detector, _ = read_detector(self.runs / name / CHECKPOINT)
        file = self.runs / name / "detector.onnx"
        file.write_bytes(export_detector(detector))
        print(file)

    def release(self, name: str, models: Path, machine: str) -> None:
        """Write the released folder of a finished run, and print what was measured of it."""
        planned, recipe = RUNS[name], self._recipe(RUNS[name])
        network, hours = read_finished(self.runs / name / CHECKPOINT, recipe)
        train, validation, test = (self._read(planned, split) for split in SPLITS)
        origin = Origin(recipe, train, planned.source.origin, hours, machine, f"{COMMAND} train {name}")
        done = release(
            network, origin, Parts(validation, test), name=planned.model, baseline=baseline_of(models), models=models
        )
        said = json.dumps(done.as_dict(), indent=2)
        (self.runs / name / "release.json").write_text(said, encoding="utf-8")
        print(name, said)

    def harden(self, archives: list[Path], folder: Path, models: Path, *, steps: int, seed: int, machine: str) -> None:
        """Fine-tune the release on labelled archives; its detector, card and figures are written, figures printed."""
        released = open_release(models)
        planned = next(one for one in RUNS.values() if one.model == released.card.name)
        classes, buckets = planned.recipe.detector.classes, released.served.buckets
        limit = get_settings().pixel_limit
        sets = [read_hardening_set(one, classes, buckets, pixel_limit=limit) for one in archives]
        names = " ".join(one.name for one in archives)
        hardening = Hardening(
            released,
            make_recipe(planned.recipe, released, sets, steps=steps, seed=seed),
            sets,
            frames=self._read(planned, "train"),
            test=self._read(planned, "test"),
            place=planned.source.origin,
            machine=machine,
            command=f"{COMMAND} harden {names} --folder FOLDER --steps {steps} --seed {seed}",
        )
        print(json.dumps(hardening.run(folder, device=self.device), indent=2))

    def _recipe(self, planned: PlannedRun) -> DetectionRecipe:
        recipe = planned.recipe
        return recipe if self.iterations is None else replace(recipe, iterations=self.iterations)

    def _read(self, planned: PlannedRun, split: str) -> DetectionSet:
        classes = planned.recipe.detector.classes
        return read_detection_set(self.data, planned.source, split, classes=classes, short_side=planned.short_side)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=Path("runs/detection"), help="folder of runs")
    add_threads_option(whole)
    whole.add_argument("--device", default="cpu", help="that torch computes on, as cuda")
    whole.add_argument("--iterations", type=int, help="instead of the plan's, for a trial")
    commands = whole.add_subparsers(dest="command", required=True)
    for name, about in (
        ("train", "train runs; finished ones stay, others are resumed"),
        ("measure", "measure runs with COCO's average precision"),
        ("export", "write the ONNX files of runs"),
        ("release", "write the released folders of finished runs, measured as they are served"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("run", nargs="*", choices=[*RUNS, []], help="default: all of the plan")
        if name == "measure":
            command.add_argument("--split", default="test", choices=SPLITS, help="that is measured")
        elif name == "release":
            _add_models(command, "folder that is released into")
    about = "fine-tune the released detector on sets of textures that were made against it; goes on where it was cut"
    _add_hardening(commands.add_parser("harden", help=about))
    return whole


def _add_hardening(command: argparse.ArgumentParser) -> None:
    command.add_argument("sets", nargs="+", type=Path, metavar="SET.zip", help="labelled archives")
    command.add_argument("--folder", type=Path, required=True, help="of detector.onnx, card.json and hardening.json")
    command.add_argument("--steps", type=int, default=STEPS, help="of the optimiser")
    command.add_argument("--seed", type=int, default=0, help="of order and views")
    _add_models(command, "folder of the release")


def _add_models(command: argparse.ArgumentParser, about: str) -> None:
    trained_on = f"{platform.machine()} CPU, shared with other work"
    command.add_argument("--models", type=Path, default=MODELS, help=about)
    command.add_argument("--machine", default=trained_on, help="that training runs on, in words")


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    workspace = Workspace(options)
    if options.command == "harden":
        known = {"steps": options.steps, "seed": options.seed, "machine": options.machine}
        workspace.harden(options.sets, options.folder, options.models, **known)
        return
    for name in options.run or RUNS:
        if options.command == "train":
            workspace.train(name)
        elif options.command == "measure":
            workspace.measure(name, options.split)
        elif options.command == "release":
            workspace.release(name, options.models, options.machine)
        else:
            workspace.export(name)


if __name__ == "__main__":
    main()
