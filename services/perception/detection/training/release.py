"""The released folder of a vehicle detector: file, card and notice, measured through the service's own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from services.perception.detection.optimisation.construction import read_detector
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.training.card_texts import NOTICE, STORAGE
from services.perception.detection.training.cards import (
    Origin,
    describe,
    make_card,
    parity_of,
    with_quality,
    with_threshold,
)
from services.perception.detection.training.data import DetectionSet
from services.perception.detection.training.figures import (
    RESAMPLES,
    Difference,
    ServedFigures,
    compare,
    measure_latency,
    measure_served,
)
from services.perception.detection.training.served import detect_served, open_served
from services.perception.detection.training.thresholds import OperatingFigures, choose_threshold
from services.perception.detection.training.train import DetectionRecipe
from services.training.half_precision import halve_weights
from shared.runtime.cards import Baseline, ModelCard
from shared.runtime.models.releases import weights_of, write_release

VERSION: Final = "1.0.0"
MODELS: Final = Path(__file__).parents[2] / "models"
"""Released models of the perception service."""

LARGEST_DIFFERENCE: Final = Difference(boxes=0.5, scores=0.01)
"""Of the graph in single precision to the network, beyond which nothing is released: proposals that are as good as
equal may take each other's place, which moves a box by less than this."""


class ReleaseRefused(Exception):
    """The run is not finished or another one than the plan's, or its graph does not do what the network does."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Pictures that a release needs, beside those of training.

    Attributes:
        validation: that the threshold is chosen on.
        test: that the file is measured on.
    """

    validation: DetectionSet
    test: DetectionSet


@dataclass(frozen=True, slots=True)
class Release:
    """What was released.

    Attributes:
        folder: of it.
        card: as written.
        chosen: threshold, with its figures on the validation part.
        figures: on the test part.
    """

    folder: Path
    card: ModelCard
    chosen: OperatingFigures
    figures: ServedFigures

    def as_dict(self) -> dict[str, Any]:
        """For JSON: figures of the file beside those of the network."""
        return {
            "folder": str(self.folder),
            "served": self.figures.served.as_dict(),
            "network": self.figures.network.as_dict(),
            "ap50_interval": self.figures.interval,
            "threshold": asdict(self.chosen) | {"f1": self.chosen.f1},
            "at_threshold": asdict(self.figures.operating) | {"f1": self.figures.operating.f1},
            "parity": self.card.parity.model_dump(),
            "latency": self.card.latency.model_dump(),
        }


def read_finished(checkpoint: Path, recipe: DetectionRecipe) -> tuple[Detector, float]:
    """The detector of a finished run, and the hours it took.

    Raises:
        FileNotFoundError: there is no such run.
        ReleaseRefused: it is not finished, or of another recipe.
    """
    state: Mapping[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if state["recipe"] != asdict(recipe):
        raise ReleaseRefused(f"{checkpoint} belongs to a run with another recipe: {state['recipe']}")
    if state["iteration"] < recipe.iterations:
        raise ReleaseRefused(f"{checkpoint} is at step {state['iteration']} of {recipe.iterations}: train it first")
    return read_detector(checkpoint)[0], state["seconds"] / 3600


def release(
    network: Detector,
    origin: Origin,
    parts: Parts,
    *,
    name: str,
    baseline: Baseline | None = None,
    models: Path = MODELS,
    resamples: int = RESAMPLES,
) -> Release:
    """Export a detector, choose its threshold, measure the file, and write it with its card.

    Args:
        network: trained.
        origin: how it came about.
        parts: pictures to choose and to measure on.
        name: of the model.
        baseline: what its AP50 is to be read beside.
        models: folder of released models.
        resamples: of the test part, for the interval.

    Raises:
        ReleaseRefused: the exported graph does not do what the network does.
    """
    whole = export_detector(network)
    difference = _compared(whole, network, origin, parts.test, name)
    content = halve_weights(whole)
    card = make_card(weights_of(content), origin, name=name, version=VERSION)
    served = open_served(content, card)
    chosen = choose_threshold(parts.validation, detect_served(served, parts.validation))
    card = with_threshold(card, chosen, describe(origin.place, parts.validation))
    parity = parity_of(difference, compare(served, network, parts.test))
    latency = measure_latency(served, parts.test.images[0])
    card = card.model_copy(update={"parity": parity, "latency": latency, "choices": [*card.choices, STORAGE]})
    served = open_served(content, card)
    figures = measure_served(served, network, parts.test, resamples=resamples)
    card = with_quality(card, figures, describe(origin.place, parts.test), baseline)
    folder = models / card.name / card.version
    write_release(folder, content, card)
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    return Release(folder, card, chosen, figures)


def _compared(whole: bytes, network: Detector, origin: Origin, data: DetectionSet, name: str) -> Difference:
    """Of the graph in single precision to the network."""
    card = make_card(weights_of(whole), origin, name=name, version=VERSION)
    found = compare(open_served(whole, card), network, data)
    if found.boxes > LARGEST_DIFFERENCE.boxes or found.scores > LARGEST_DIFFERENCE.scores:
        raise ReleaseRefused(f"the exported graph differs from the trained network: {found}")
    return found
