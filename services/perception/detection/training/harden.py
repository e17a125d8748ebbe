"""Hardening: the released detector fine-tuned on sets of textures that were made against it, to be attacked again.

Training begins from the weights of the released file. Half of each batch is of the sets, half of the frames that the
detector learned from, so that it does not forget them; what that costs is measured on the town that nobody trains on.
Rates are low, and the last step of a cosine ends near zero.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from services.perception.detection.detectors import VEHICLES
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.released_weights import read_released
from services.perception.detection.training.card_texts import NOTICE
from services.perception.detection.training.cards import describe
from services.perception.detection.training.data import DetectionSet
from services.perception.detection.training.evaluate import AveragePrecision, average_precision
from services.perception.detection.training.figures import Difference, compare
from services.perception.detection.training.hardened_card import (
    CleanFigures,
    HardeningOrigin,
    make_hardened_card,
    with_figures,
)
from services.perception.detection.training.hardening_sets import HardeningSet, join_sets
from services.perception.detection.training.release import ReleaseRefused, read_finished
from services.perception.detection.training.served import as_tensors, detect_served, open_served
from services.perception.detection.training.train import CHECKPOINT, DetectionRecipe, DetectorTraining
from services.training.half_precision import halve_weights
from shared.detectors.models import Detector as ServedDetector
from shared.runtime.cards import CARD_FILE, ModelCard, read_card, read_weights, reference_of
from shared.runtime.models.registry import newest_folder

FIGURES: Final = "hardening.json"
DETECTOR: Final = "detector.onnx"
STEPS: Final = 400
LEARNING_RATE: Final = 2e-4
"""A fifth of that of the release."""
_WARM_UP: Final = 10
"""Learning rates rise over one of so many steps."""
_SAVE_EVERY: Final = 50

READ: Final = Difference(boxes=0.01, scores=1e-4)
"""Of the network that is read to the file that it is read from, beyond which training does not begin."""
WRITTEN: Final = Difference(boxes=1.0, scores=0.02)
"""Of the file to the network, whose weights it rounds to half precision, beyond which it is not written."""


@dataclass(frozen=True, slots=True)
class HardeningRecipe(DetectionRecipe):
    """Fine-tuning; a run that was cut off goes on only with what it began with.

    Attributes:
        release: SHA-256 of the file that training begins from.
        sets: SHA-256 of each set.
    """

    release: str = ""
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """The detector that is hardened.

    Attributes:
        card: of it.
        content: its ONNX file.
        served: it as the service opens it.
    """

    card: ModelCard
    content: bytes
    served: ServedDetector


def open_release(models: Path, name: str = VEHICLES) -> Release:
    """The newest version of a released detector.

    Raises:
        FileNotFoundError: there is none.
    """
    folder = newest_folder(models, name)
    card = read_card(folder)
    content = read_weights(folder, card)
    return Release(card, content, open_served(content, card))


def make_recipe(
    planned: DetectionRecipe, release: Release, sets: Sequence[HardeningSet], *, steps: int = STEPS, seed: int = 0
) -> HardeningRecipe:
    """The recipe of a hardening: that of the release, but for fewer steps and lower rates."""
    optimiser = replace(planned.optimiser, learning_rate=LEARNING_RATE, warm_up=max(1, steps // _WARM_UP))
    return HardeningRecipe(
        detector=planned.detector,
        iterations=steps,
        batch=planned.batch,
        optimiser=optimiser,
        clip=planned.clip,
        scales=planned.scales,
        strong=planned.strong,
        seed=seed,
        release=release.card.weights.sha256,
        sets=tuple(one.sha256 for one in sets),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Hardening:
    """One hardening.

    Attributes:
        release: that is hardened.
        recipe: of it.
        sets: that are learned from.
        frames: that the release learned from.
        test: frames that the price is measured on.
        place: where frames are from, in words.
        machine: that this runs on, in words.
        command: that repeats it.
    """

    release: Release
    recipe: HardeningRecipe
    sets: Sequence[HardeningSet]
    frames: DetectionSet
    test: DetectionSet
    place: str
    machine: str
    command: str

    def run(self, folder: Path, *, device: str = "cpu") -> dict[str, Any]:
        """Fine-tune, from where the folder's checkpoint left off, and write detector, card, notice and figures.

        Args:
            folder: of the files.
            device: that torch computes on.

        Returns:
            What stands in hardening.json.

        Raises:
            ReleaseRefused: the network does not do what the file does that it was read from, or the other way round.
            ValueError: the released file is another detector's, or the checkpoint is of another run.
        """
        initial = read_released(self.release.content, self.recipe.detector)
        read = _agree(self.release.served, initial, self.test, READ)
        learned = join_sets([one.data for one in self.sets])
        training = DetectorTraining(
            self.recipe, [learned, self.frames], folder, initial=initial, save_every=_SAVE_EVERY, device=device
        )
        training.run()
        network, hours = read_finished(folder / CHECKPOINT, self.recipe)
        return self._write(folder, network, learned, hours=hours, read=read)

    def _write(
        self, folder: Path, network: Detector, learned: DetectionSet, *, hours: float, read: Difference
    ) -> dict[str, Any]:
        content = halve_weights(export_detector(network))
        origin = HardeningOrigin(self.release.card, self.recipe, learned, hours, self.machine, self.command)
        card = make_hardened_card(content, DETECTOR, origin)
        served = open_served(content, card)
        written = _agree(served, network, self.test, WRITTEN)
        before, after = (measure(one, self.test) for one in (self.release.served, served))
        clean = CleanFigures(describe(self.place, self.test), before, after)
        figures = {
            "release": reference_of(self.release.card).model_dump(),
            "hardened": reference_of(card).model_dump(),
            "sets": [{"file": one.file, "sha256": one.sha256, "pictures": len(one.data)} for one in self.sets],
            "steps": self.recipe.iterations,
            "seed": self.recipe.seed,
            "seconds": round(3600 * hours, 1),
            "machine": self.machine,
            "clean": clean.as_dict(),
            "file_to_network": {"read": asdict(read), "written": asdict(written)},
        }
        (folder / DETECTOR).write_bytes(content)
        complete = with_figures(card, origin, clean, written)
        (folder / CARD_FILE).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
        (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        return figures


def measure(served: ServedDetector, data: DetectionSet) -> AveragePrecision:
    """Average precision of a file by the way of the service.

    Raises:
        ModuleNotFoundError: faster-coco-eval is not installed.
    """
    return average_precision(data, as_tensors(detect_served(served, data))).mean


def _agree(served: ServedDetector, network: Detector, data: DetectionSet, most: Difference) -> Difference:
    """How far file and network are apart, which is not far."""
    found = compare(served, network, data)
    if found.boxes > most.boxes or found.scores > most.scores:
        raise ReleaseRefused(f"file and network of {served.model.card.name} differ: {found}")
    return found
