"""The report of a campaign: what was asked, what was counted, what follows. The same request has the same report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel, Field

from services.security.bit_error_campaigns.network_runs import Progress
from services.security.bit_error_campaigns.plan import Condition
from services.security.bit_error_campaigns.schemas import CampaignOptions, MemoryUsed, ModelUsed
from services.security.bit_error_campaigns.statistics import Spread, rate_of_loss, spread_of
from services.security.bit_errors.quantisation import BITS
from services.security.bit_errors.weight_memory import WeightMemory
from shared.intervals import wilson_interval

POINTS: Final = (1, 5, 50)
"""Percentage points of accuracy, for which the rate is stated at which they are lost."""


class Accuracy(BaseModel):
    """Of one network."""

    accuracy: float = Field(description="Share of pictures whose highest score is that of their class")
    correct: int = Field(description="Pictures")
    low: float = Field(description="95 % interval over pictures (Wilson)")
    high: float = Field(description="Its upper end")
    not_finite: int = Field(description="Pictures with a score that is NaN or infinite; counted as wrong")


class SpreadView(BaseModel):
    """Accuracy over chips, each of which is a seed."""

    mean: float
    std: float | None = Field(description="Sample standard deviation; null: one seed")
    low: float | None = Field(description="95 % interval of the mean over chips (Student's t); null: one seed")
    high: float | None
    least: float
    most: float
    by_seed: list[float]
    not_finite: int = Field(description="Of all seeds: pictures with a score that is NaN or infinite")


class CurvePoint(BaseModel):
    """Accuracy at a bit error rate."""

    rate: float
    accuracy: SpreadView


class LossRate(BaseModel):
    """The rate at which so much accuracy is lost."""

    points: int = Field(description="Percentage points below the accuracy of the stored weights")
    rate: float | None = Field(description="Interpolated; null: not reached by the rates of this campaign")


class LayerLoss(BaseModel):
    """What is lost when cells fail in one layer alone."""

    rank: int
    layer: str
    operator: str
    weights: int
    share: float = Field(description="Of all weights")
    lost_points: float = Field(description="Percentage points below the accuracy of the stored weights")
    accuracy: SpreadView


class BitLoss(BaseModel):
    """What is lost when one position of every byte may fail."""

    rank: int
    bit: int = Field(description="0 is the least significant")
    is_sign: bool
    lost_points: float
    accuracy: SpreadView


class DatasetUsed(BaseModel):
    """Pictures of a campaign."""

    images: int = Field(description="That each network classified")
    posted: int = Field(description="Pictures in the archive")
    classes: int = Field(description="Classes that the model tells apart")
    classes_seen: int = Field(description="Classes that these pictures have")
    labels_by: str = Field(description="How labels were read")
    sha256: str = Field(description="Digest of the archive")


class Report(BaseModel):
    """What a campaign found out."""

    model: ModelUsed
    dataset: DatasetUsed
    memory: MemoryUsed
    options: CampaignOptions
    networks: int
    evaluations: int
    as_given: Accuracy = Field(description="The model as it is")
    stored: Accuracy = Field(description="With its weights in eight bits and no cell failing")
    curve: list[CurvePoint]
    loss_rates: list[LossRate]
    layers: list[LayerLoss] = Field(description="The most fragile first")
    bits: list[BitLoss] = Field(description="The most fragile first")
    notes: list[str]


class Counts:
    """What was counted for the conditions that are complete.

    Args:
        conditions: of the campaign.
        progress: what was counted.
    """

    def __init__(self, conditions: Sequence[Condition], progress: Progress) -> None:
        self.conditions, self.progress = conditions, progress
        self._groups: dict[tuple[str, object], list[int]] = {}
        for index, one in enumerate(conditions[: progress.condition]):
            self._groups.setdefault((one.analysis, one.varied), []).append(index)

    def accuracy(self, index: int) -> Accuracy:
        """Of one condition."""
        correct, count = self.progress.correct[index], self.progress.pictures
        low, high = wilson_interval(correct / count, count)
        not_finite = self.progress.not_finite[index]
        return Accuracy(accuracy=correct / count, correct=correct, low=low, high=high, not_finite=not_finite)

    def spread(self, analysis: str, varied: object) -> SpreadView | None:
        """Over the seeds that are complete; None if there are none."""
        found = self._groups.get((analysis, varied))
        if not found:
            return None
        shares = [self.progress.correct[index] / self.progress.pictures for index in found]
        return _view(spread_of(shares), shares, sum(self.progress.not_finite[index] for index in found))

    def curve(self, rates: Iterable[float]) -> list[CurvePoint]:
        """The points of the curve that there are."""
        found = ((rate, self.spread("curve", rate)) for rate in rates)
        return [CurvePoint(rate=rate, accuracy=spread) for rate, spread in found if spread is not None]


def build_report(
    counts: Counts, memory: WeightMemory, *, options: CampaignOptions, model: ModelUsed, dataset: DatasetUsed
) -> Report:
    """The report of a complete campaign."""
    as_given, stored = counts.accuracy(0), counts.accuracy(1)
    curve = counts.curve(options.rates if "curve" in options.analyses else ())
    rates, means = [point.rate for point in curve], [point.accuracy.mean for point in curve]
    report = Report(
        model=model,
        dataset=dataset,
        memory=memory_used(memory),
        options=options,
        networks=len(counts.conditions),
        evaluations=counts.progress.evaluated,
        as_given=as_given,
        stored=stored,
        curve=curve,
        loss_rates=[
            LossRate(points=one, rate=rate_of_loss(rates, means, baseline=stored.accuracy, lost=one / 100))
            for one in POINTS
        ]
        if curve
        else [],
        layers=_layers(counts, memory, stored.accuracy) if "layers" in options.analyses else [],
        bits=_bits(counts, stored.accuracy) if "bits" in options.analyses else [],
        notes=[],
    )
    return report.model_copy(update={"notes": [*_notes(report)]})


def memory_used(memory: WeightMemory) -> MemoryUsed:
    """What a memory holds."""
    return MemoryUsed(
        weights=memory.count,
        layers=len(memory.tensors),
        bytes_of_graph=memory.quantised_by_graph,
        computed_layers=list(memory.computed_layers),
    )


def _view(spread: Spread, by_seed: list[float], not_finite: int) -> SpreadView:
    return SpreadView(
        mean=spread.mean,
        std=spread.std,
        low=spread.low,
        high=spread.high,
        least=spread.least,
        most=spread.most,
        by_seed=by_seed,
        not_finite=not_finite,
    )


def _layers(counts: Counts, memory: WeightMemory, baseline: float) -> list[LayerLoss]:
    found = [(tensor, counts.spread("layers", tensor.layer)) for tensor in memory.tensors]
    complete = [(tensor, spread) for tensor, spread in found if spread is not None]
    return [
        LayerLoss(
            rank=rank,
            layer=tensor.layer,
            operator=tensor.operator,
            weights=tensor.count,
            share=tensor.count / memory.count,
            lost_points=100 * (baseline - spread.mean),
            accuracy=spread,
        )
        for rank, (tensor, spread) in enumerate(sorted(complete, key=lambda pair: pair[1].mean), 1)
    ]


def _bits(counts: Counts, baseline: float) -> list[BitLoss]:
    found = [(bit, counts.spread("bits", bit)) for bit in range(BITS)]
    complete = [(bit, spread) for bit, spread in found if spread is not None]
    return [
        BitLoss(
            rank=rank,
            bit=bit,
            is_sign=bit == BITS - 1,
            lost_points=100 * (baseline - spread.mean),
            accuracy=spread,
        )
        for rank, (bit, spread) in enumerate(sorted(complete, key=lambda pair: pair[1].mean), 1)
    ]


def _notes(report: Report) -> Iterable[str]:
    if report.options.fault == "stuck_at":
        yield "Half of the stuck cells hold the right value by chance: a rate of 1 % flips 0.5 % of the bits."
    else:
        yield "A faulty cell gives the opposite of what was written: a rate of 1 % flips 1 % of the bits."
    if report.memory.bytes_of_graph:
        yield "The graph stores eight bits itself: its bytes fail as they are stored, and its scales stay."
    else:
        yield "Weights are stored as signed bytes with one scale for each tensor; biases and activations never fail."
    if report.memory.computed_layers:
        names = ", ".join(report.memory.computed_layers[:3])
        yield f"{len(report.memory.computed_layers)} layers have weights that the graph computes ({names}): none fail."
    lost = 100 * (report.as_given.accuracy - report.stored.accuracy)
    if lost >= 1:
        yield f"Storing the weights in eight bits costs {lost:.1f} points before any cell fails."
    if report.stored.low <= 1 / report.dataset.classes:
        yield "Without faults the model is no better than chance on these pictures: are labels and parameters right?"
    if report.stored.not_finite:
        yield f"Without faults {report.stored.not_finite} pictures already have scores that are NaN or infinite."
    if (without := sum(point.accuracy.not_finite for point in report.curve)) > 0:
        yield f"Faults made scores of {without} pictures NaN or infinite; these count as wrong."
    if len(report.options.seeds) < 5 and report.curve:
        yield "Few seeds: chips differ, and the intervals say how little is known of their mean."
