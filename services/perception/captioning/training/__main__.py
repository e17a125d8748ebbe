"""Command line of training: `python -m services.perception.captioning.training --help`."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from pathlib import Path

import numpy as np
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.decoding import SearchOptions
from services.perception.captioning.training.caption_training import CaptionTraining, describe
from services.perception.captioning.training.cards import Figures, Origin
from services.perception.captioning.training.data import CaptionSet, caption_set
from services.perception.captioning.training.exports import export_encoder, export_step
from services.perception.captioning.training.features import (
    BACKBONES,
    CUT,
    cache_features,
    make_backbone,
    map_channels,
    read_picture,
)
from services.perception.captioning.training.meteor import meteor
from services.perception.captioning.training.meteor_files import fetch_meteor
from services.perception.captioning.training.neighbours import neighbour_captions
from services.perception.captioning.training.plan import RELEASED, RUNS
from services.perception.captioning.training.release import MODELS, VERSION, release_captioner, released_name
from services.perception.captioning.training.released import TrainedCaptioner, read_release
from services.perception.captioning.training.runs import FinishedRun, read_run
from shared.captions.corpus import measure_corpus
from shared.command_line import add_data_option, add_threads_option
from shared.datasets.captioned_photos import FOLDER, SPLITS, CaptionedPhotos, read_captioned_photos

COMMAND = "python -m services.perception.captioning.training"
_CALIBRATION = 128
"""Photographs that a random backbone's batch normalisation is measured on."""


class Workspace:
    """Data, cached features and runs of one command.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.runs: Path = options.out
        self.threads: int = options.threads
        photos = read_captioned_photos(options.data / FOLDER)
        self.photos = {name: part.first(options.limit) if options.limit else part for name, part in photos.items()}

    def backbone(self, name: str) -> EfficientNetLite:
        """A backbone, the same in each run."""
        calibration = None
        if BACKBONES[name].weights is None:
            files = self.photos["train"].files[:_CALIBRATION]
            calibration = torch.from_numpy(np.stack([read_picture(file) for file in files]))
        return make_backbone(name, calibration)

    def data(self, encoder: str, backbone: EfficientNetLite, splits: tuple[str, ...] = SPLITS) -> dict[str, CaptionSet]:
        """Parts of the set with their features, which are computed where they are missing."""
        return {name: self._part(encoder, backbone, name, self.photos[name]) for name in splits}

    def train(self, name: str) -> None:
        """Train a run of the plan; a finished one is left as it is, an unfinished one is resumed."""
        planned = RUNS[name]
        encoder = planned.recipe.encoder
        backbone = self.backbone(encoder)
        data = self.data(encoder, backbone, ("train", "val"))
        start = self.start(planned.start) if planned.start else None
        training = CaptionTraining(
            planned.recipe,
            data["train"],
            data["val"],
            map_channels(encoder),
            self.runs / name,
            tail=backbone.split(CUT)[1] if planned.recipe.tail_learning_rate > 0 else None,
            start=start.weights if start else None,
        )
        if start is not None and start.words != training.vocabulary.words:
            raise ValueError(f"{planned.start} was trained on other captions: its words are not those of these")
        training.run()

    def start(self, name: str) -> TrainedCaptioner:
        """What another run goes on from: the run of that name, or where its folder is gone what was released of it."""
        planned, folder = RUNS[name], self.runs / name
        if not (folder / "checkpoint.pt").exists():
            return read_release(MODELS, released_name(planned.recipe), VERSION)
        run = read_run(folder, self.backbone(planned.recipe.encoder))
        return TrainedCaptioner(run.captioner.state_dict(), run.vocabulary.words, run.hours)

    def measure(self, name: str, split: str) -> dict[str, dict[str, float]]:
        """Figures of a run beside the nearest neighbour's on the same features; METEOR where Java is there."""
        backbone = self.backbone(RUNS[name].recipe.encoder)
        run = read_run(self.runs / name, backbone)
        data = self.data(run.recipe.encoder, backbone, ("train", split))
        asked = data[split]
        found = {
            f"neighbours-{count}": neighbour_captions(data["train"], asked.features, neighbours=count)
            for count in (1, 10)
        }
        for beams in (False, True):
            captions = describe(run.captioner, asked, SearchOptions(), beams=beams)
            found["beams" if beams else "greedy"] = [run.vocabulary.decode(caption.words) for caption in captions]
        return {kind: self._figures(captions, asked) for kind, captions in found.items()}

    def _figures(self, captions: list[list[str]], asked: CaptionSet) -> dict[str, float]:
        figures = measure_corpus(captions, asked.captions)
        if shutil.which("java") is None:
            return figures
        return {**figures, "METEOR": meteor(captions, asked.captions, fetch_meteor(self.runs / "meteor"))[0]}

    def export(self, name: str) -> Path:
        """Write encoder.onnx, step.onnx and words.json into the folder of a finished run."""
        folder = self.runs / name
        backbone = self.backbone(RUNS[name].recipe.encoder)
        run = read_run(folder, backbone)
        (folder / "encoder.onnx").write_bytes(export_encoder(run.captioner, backbone))
        (folder / "step.onnx").write_bytes(export_step(run.captioner, places=14 * 14))
        (folder / "words.json").write_text(json.dumps(run.vocabulary.words), encoding="utf-8")
        return folder

    def release(self, name: str, split: str, models: Path) -> list[Path]:
        """Write the released folders of a finished run, with what `measure` has found of it, if it has.

        Args:
            name: of the run.
            split: that it was measured on.
            models: folder of released models.
        """
        backbone = self.backbone(RUNS[name].recipe.encoder)
        run = read_run(self.runs / name, backbone)
        figures, measured = None, self.runs / name / f"{split}.json"
        if measured.exists():
            dataset = f"Flickr8k at 112 x 112, {len(self.photos[split])} photographs of the {split} part of our split"
            figures = Figures(dataset, json.loads(measured.read_text(encoding="utf-8")))
        return release_captioner(
            run,
            backbone,
            self._origin(name, run),
            name=released_name(run.recipe),
            figures=figures,
            models=models,
        )

    def _origin(self, name: str, run: FinishedRun) -> Origin:
        start = RUNS[name].start
        before = self.start(start) if start else None
        return Origin(
            photographs=len(self.photos["train"]),
            hours=round(run.hours + (before.hours if before else 0), 2),
            machine=f"{platform.machine()} CPU, {self.threads} threads",
            command=" ".join([COMMAND, "train", *([start] if start else []), name]),
            before=RUNS[start].recipe.epochs if start else 0,
        )

    def _part(self, encoder: str, backbone: EfficientNetLite, split: str, photos: CaptionedPhotos) -> CaptionSet:
        features = cache_features(photos.files, backbone, self.runs / "features" / encoder / split)
        return caption_set(photos, features)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=Path("runs/captioning"), help="folder of features and runs")
    add_threads_option(whole)
    whole.add_argument("--limit", type=int, help="only the first photographs of each split, for a trial")
    commands = whole.add_subparsers(dest="command", required=True)
    features = commands.add_parser("features", help="compute and keep features; goes on where it was cut off")
    features.add_argument("encoder", choices=sorted(BACKBONES))
    for name, about in (
        ("train", "train runs in this order; finished ones stay, others are resumed"),
        ("measure", "measure finished runs beside the nearest neighbour"),
        ("export", "write the ONNX files of finished runs"),
        ("release", f"write the released folders of finished runs (default: {', '.join(RELEASED)})"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("run", nargs="*", choices=[*RUNS, []], help="default: all of the plan")
        command.add_argument("--split", default="test", choices=SPLITS, help="that is measured")
        command.add_argument("--models", type=Path, default=MODELS, help="folder that is released into")
    blip = commands.add_parser("blip", help="write a local BLIP of transformers as a captioner of two models")
    blip.add_argument("folder", type=Path, help="as save_pretrained writes it; nothing is downloaded")
    blip.add_argument(
        "--out", dest="into", type=Path, required=True, help="folder of models: <FACET_MODELS>/perception"
    )
    blip.add_argument("--name", default="captioner-blip", help="of the captioner (default: captioner-blip)")
    blip.add_argument("--version", default="1.0.0", help="of both models (default: 1.0.0)")
    blip.add_argument("--licence", default="not stated", help="of the weights, in words")
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.command == "blip":
        _release_blip(options)
        return
    workspace = Workspace(options)
    if options.command == "features":
        workspace.data(options.encoder, workspace.backbone(options.encoder))
        return
    for name in options.run or (RELEASED if options.command == "release" else RUNS):
        if options.command == "train":
            workspace.train(name)
        elif options.command == "measure":
            found = workspace.measure(name, options.split)
            (workspace.runs / name / f"{options.split}.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
            print(json.dumps({name: found}, indent=2))
        elif options.command == "release":
            print(*workspace.release(name, options.split, options.models), sep="\n")
        else:
            print(workspace.export(name))


def _release_blip(options: argparse.Namespace) -> None:
    from services.perception.captioning.training.blip import read_blip, release_blip  # transformers take long to import

    folders = release_blip(
        read_blip(options.folder), options.into, name=options.name, version=options.version, licence=options.licence
    )
    print(*folders, sep="\n")


if __name__ == "__main__":
    main()
