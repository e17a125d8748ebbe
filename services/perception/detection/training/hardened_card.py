"""What the card of a hardened detector says: that of the release, but for what hardening changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from services.perception.detection.training.cards import describe, procedure_of
from services.perception.detection.training.data import DetectionSet
from services.perception.detection.training.evaluate import AveragePrecision
from services.perception.detection.training.figures import Difference
from services.perception.detection.training.train import DetectionRecipe
from shared.runtime.cards import Baseline, ModelCard, Parity, Quality, TrainingRecord, UploadedCard
from shared.runtime.models.releases import weights_of

SETS: Final = "Labelled sets for hardening, pictures of simulated cars under generated and random textures"
LIMITS: Final = (
    (
        "Textures of the sets were made against the detector that it began from: how hard it is to hide from this one "
        "is known after an attack on this one."
    ),
    "Cars of the sets are simple ones in front of frames of the simulator, one on each picture.",
)
THRESHOLD: Final = "score_threshold is that of {name} {version} and was not chosen anew."


@dataclass(frozen=True, slots=True, eq=False)
class HardeningOrigin:
    """How a hardened detector came about.

    Attributes:
        release: card of the detector that it began from.
        recipe: of the fine-tuning.
        learned: pictures of the sets.
        hours: that it took.
        machine: in words.
        command: that repeats it.
    """

    release: ModelCard
    recipe: DetectionRecipe
    learned: DetectionSet
    hours: float
    machine: str
    command: str

    @property
    def training(self) -> TrainingRecord:
        """As cards have it."""
        began = f"{self.release.name} {self.release.version}"
        return TrainingRecord(
            data=[describe(SETS, self.learned), *self.release.training.data],
            procedure=f"{began} fine-tuned, half of each batch of the sets and half of frames that it had learned "
            f"from; {procedure_of(self.recipe)}",
            seed=self.recipe.seed,
            machine=self.machine,
            hours=round(self.hours, 2),
            command=self.command,
        )


@dataclass(frozen=True, slots=True)
class CleanFigures:
    """What hardening costs on frames without textures.

    Attributes:
        dataset: the frames, in words.
        before: figures of the release.
        after: figures of the hardened file.
    """

    dataset: str
    before: AveragePrecision
    after: AveragePrecision

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"dataset": self.dataset, "before": self.before.as_dict(), "after": self.after.as_dict()}


def make_hardened_card(content: bytes, file: str, origin: HardeningOrigin) -> UploadedCard:
    """The card without what is measured.

    Args:
        content: ONNX file.
        file: its name.
        origin: how it came about.
    """
    release = origin.release
    return UploadedCard(
        name=f"{release.name}-hardened",
        version=release.version,
        task=release.task,
        paper=release.paper,
        licence=release.licence,
        inputs=release.inputs,
        outputs=release.outputs,
        weights=weights_of(content).model_copy(update={"file": file}),
        training=origin.training,
        limits=[*LIMITS, *release.limits],
        choices=[*release.choices, THRESHOLD.format(name=release.name, version=release.version)],
        parameters=release.parameters,
        runtime=release.runtime,
    )


def with_figures(card: UploadedCard, origin: HardeningOrigin, clean: CleanFigures, apart: Difference) -> UploadedCard:
    """The card with what the file is worth.

    Args:
        card: of the file.
        origin: how it came about.
        clean: figures of it and of the release.
        apart: how far it is from the network that it was made of.
    """
    beside = f"{origin.release.name} {origin.release.version}, which it began from"
    rows = [
        ("AP50 (COCO: 101 points)", clean.after.ap50, clean.before.ap50),
        ("AP, mean of IoU 0.50 to 0.95", clean.after.ap, clean.before.ap),
        ("AP75", clean.after.ap75, clean.before.ap75),
    ]
    quality = [
        Quality(
            metric=metric,
            dataset=clean.dataset,
            value=round(after, 4),
            unit="",
            baseline=Baseline(name=beside, value=round(before, 4)),
        )
        for metric, after, before in rows
    ]
    parity = Parity(
        reference=f"the fine-tuned network in torch, the surest {apart.regions} regions of {apart.pictures} pictures; "
        "of scores of the file, whose weights are in half precision. Edges differ by "
        f"{apart.boxes:.2g} pixels at most",
        max_abs_difference=apart.scores,
    )
    return card.model_copy(update={"quality": quality, "parity": parity})
