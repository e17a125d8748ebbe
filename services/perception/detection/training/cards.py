"""What the card of a released vehicle detector says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.perception.detection.optimisation.batches import GREY
from services.perception.detection.optimisation.exporting import REGIONS
from services.perception.detection.optimisation.suppression import DetectionOptions
from services.perception.detection.training.card_texts import (
    BACKBONES,
    CAVEATS,
    CHOICES,
    LICENCE,
    LIMITS,
    PAPERS,
    REGIONS_OF,
    SIZES,
)
from services.perception.detection.training.data import DetectionSet
from services.perception.detection.training.figures import Difference, ServedFigures
from services.perception.detection.training.thresholds import OperatingFigures
from services.perception.detection.training.train import DetectionRecipe
from shared.detectors.letterboxing import Buckets, Size
from shared.detectors.roles import BOXES, PARAMETER, SCORES, describe_image
from shared.runtime.cards import (
    Baseline,
    ModelCard,
    Parity,
    Quality,
    RuntimeOptions,
    TensorDescription,
    TrainingRecord,
    Weights,
    read_card,
)
from shared.runtime.models.releases import NOT_MEASURED

_DEFAULTS: Final = DetectionOptions()


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came about.

    Attributes:
        recipe: of it.
        data: that it learned from.
        place: where the data are from, in words.
        hours: that it took.
        machine: in words.
        command: that trains it.
    """

    recipe: DetectionRecipe
    data: DetectionSet
    place: str
    hours: float
    machine: str
    command: str


def make_card(weights: Weights, origin: Origin, *, name: str, version: str) -> ModelCard:
    """The card without what is measured; its threshold stays open until `with_threshold`."""
    detector = origin.recipe.detector
    short, long = sides_of(origin.data)
    seen = Buckets.of_sides(short, long).choose(Size(short, long))
    return ModelCard(
        name=name,
        version=version,
        task=f"Finds {', '.join(detector.classes)} on pictures of streets",
        paper=PAPERS[detector.architecture],
        licence=LICENCE,
        inputs=[describe_image()],
        outputs=_outputs(detector.architecture, len(detector.classes)),
        weights=weights,
        training=_training(origin),
        **NOT_MEASURED,
        limits=LIMITS,
        choices=[*CHOICES[detector.architecture], SIZES.format(short=short, long=long)],
        parameters={
            PARAMETER: {
                "classes": list(detector.classes),
                "short_side": short,
                "long_side": long,
                "fill": [round(GREY * 255)] * 3,
                "iou_threshold": _DEFAULTS.overlap,
                "limit": _DEFAULTS.most,
            },
            "caveats": list(CAVEATS),
            "warm_up": {"height": seen.height, "width": seen.width},
        },
        runtime=RuntimeOptions(on_demand=True),
    )


def sides_of(data: DetectionSet) -> tuple[int, int]:
    """Shorter and longer side of the largest pictures of a set."""
    sides = [sorted(image.shape[:2]) for image in data.images]
    return max(one[0] for one in sides), max(one[1] for one in sides)


def with_threshold(card: ModelCard, chosen: OperatingFigures, place: str) -> ModelCard:
    """The card with the least score of an answer, and how it was chosen.

    Args:
        card: without one.
        chosen: threshold and figures.
        place: what it was chosen on, in words.
    """
    stated: Any = card.parameters[PARAMETER]
    choice = (
        f"score_threshold has the largest F1 ({chosen.f1:.3f}; precision {chosen.precision:.3f}, recall "
        f"{chosen.recall:.3f}) on {place}. It was not chosen on the pictures of the figures beside."
    )
    parameters = card.parameters | {PARAMETER: stated | {"score_threshold": chosen.threshold}}
    return card.model_copy(update={"parameters": parameters, "choices": [*card.choices, choice]})


def with_quality(card: ModelCard, figures: ServedFigures, place: str, baseline: Baseline | None) -> ModelCard:
    """The card with what the file is worth on the test part.

    Args:
        card: of the file.
        figures: that were measured.
        place: what they were measured on, in words.
        baseline: what AP50 is to be read beside.
    """
    operating = figures.operating
    rows = [
        ("AP50 (COCO: 101 points)", figures.served.ap50, figures.interval, baseline),
        ("AP, mean of IoU 0.50 to 0.95", figures.served.ap, None, None),
        ("AP75", figures.served.ap75, None, None),
        (f"precision from score {operating.threshold} on, IoU 0.5", operating.precision, None, None),
        (f"recall from score {operating.threshold} on, IoU 0.5", operating.recall, None, None),
    ]
    quality = [
        Quality(
            metric=metric,
            dataset=place,
            value=round(value, 4),
            unit="",
            interval=interval and (round(interval[0], 4), round(interval[1], 4)),
            baseline=beside,
        )
        for metric, value, interval, beside in rows
    ]
    return card.model_copy(update={"quality": quality})


def parity_of(difference: Difference, halved: Difference) -> Parity:
    """What the card says of both differences: of the graph, and of the file, whose weights are rounded."""
    return Parity(
        reference=f"the trained network in torch, the surest {difference.regions} regions of {difference.pictures} "
        f"pictures; of scores. Edges differ by {difference.boxes:.2g} pixels at most. That is of the graph in single "
        f"precision; with weights in half, as in the file, scores differ by {halved.scores:.2g} and edges by "
        f"{halved.boxes:.2g} pixels",
        max_abs_difference=difference.scores,
    )


def baseline_of(models: Path) -> Baseline | None:
    """AP50 of vehicles of the reference detector, as its card states it: the better of its two sizes of pictures."""
    folder = models / "nanodet" / "1.0.0"
    if not folder.is_dir():
        return None
    for stated in read_card(folder).quality:
        if stated.metric.startswith("AP50 of vehicle") and stated.baseline is not None:
            name = f"nanodet, trained on no CARLA, {stated.baseline.name} ({stated.value} with the sides of its card)"
            return Baseline(name=name, value=stated.baseline.value)
    return None


def describe(place: str, data: DetectionSet) -> str:
    """A set in words: where it is from, how much it is."""
    boxes = sum(len(one) for one in data.targets)
    return f"{place}, {', '.join(sorted(set(data.domains)))}: {len(data)} pictures, {boxes} boxes"


def procedure_of(recipe: DetectionRecipe) -> str:
    """How a recipe trains, in words."""
    optimiser, (low, high) = recipe.optimiser, recipe.scales
    return (
        f"{recipe.iterations} steps of {optimiser.kind}, batches of {recipe.batch} pictures, learning rate "
        f"{optimiser.learning_rate} ({optimiser.body_factor} of it for the body of the backbone) rising over "
        f"{optimiser.warm_up} steps and falling along a cosine, weight decay {optimiser.weight_decay}, norms of "
        f"gradients cut at {recipe.clip}; mirrored or not, {low} to {high} times as large, {recipe.strong:.0%} with "
        "changed colours. The last weights were taken"
    )


def _training(origin: Origin) -> TrainingRecord:
    recipe = origin.recipe
    return TrainingRecord(
        data=[describe(origin.place, origin.data), *BACKBONES[recipe.detector.backbone.kind]],
        procedure=procedure_of(recipe),
        seed=recipe.seed,
        machine=origin.machine,
        hours=round(origin.hours, 2),
        command=origin.command,
    )


def _outputs(architecture: str, classes: int) -> list[TensorDescription]:
    own: list[int | str] = [REGIONS, classes, 4] if architecture == "two-stage" else [REGIONS, 4]
    said = f"Left, top, right and bottom edge of {REGIONS_OF[architecture]}, within the input; overlaps not suppressed"
    return [
        TensorDescription(name=BOXES, dtype="float32", shape=own, unit="pixels of the input", description=said),
        TensorDescription(
            name=SCORES,
            dtype="float32",
            shape=[REGIONS, classes],
            unit="",
            range=(0, 1),
            description="Of each class, before any threshold",
        ),
    ]
