"""The report of a camouflage: what was asked, what was done, and how far each detector degrades."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, computed_field

from services.security.camouflage.detection.transfers import PREFIX, EndpointUsed
from services.security.camouflage.measurement.measures import OVERLAP, average_precision
from services.security.camouflage.measurement.measuring import LEAST_PIXELS, Measured, Sight
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.reporting.notices import SIMULATION
from shared.intervals import wilson_interval
from shared.runtime.cards import ModelReference

FORMAT: Final = "facet.camouflage-report/1"

THRESHOLDS: Final = (0.25, 0.5)
"""Scores from which on a box counts as found."""

RESULT: Final = "result"
PLAIN: Final = "plain"

ConditionName = Literal["azimuth", "elevation", "distance", "light", "background"]

CAVEATS: Final = (
    SIMULATION,
    "Intervals are Wilson's for as many trials as there are pictures; pictures of one car resemble each other.",
    "A detector of few cars degrades under any unusual paint: read the result beside the random texture.",
    "A sticker hides a part of the car by itself; the grey one of the same area shows how much that does.",
)


class DetectorUsed(BaseModel):
    """A detector that was asked: a model of the fleet, or an endpoint that its operator has registered."""

    role: Literal["victim", "transfer"] = Field(description="Whether its gradients were used")
    model: ModelReference | None = Field(default=None, description="With the digest of its weights")
    endpoint: EndpointUsed | None = Field(default=None, description="With who owns it and what it was allowed")
    spent: int | None = Field(default=None, description="Pictures that an endpoint was shown, further tries included")
    silent: str | None = Field(default=None, description="Why an endpoint was not asked to the end; null: it was")

    @computed_field(description="Name; that of an endpoint begins with `endpoint:`")  # type: ignore[prop-decorator]
    @property
    def name(self) -> str:
        """As rates and conditions have it."""
        if self.model is not None:
            return self.model.name
        return "" if self.endpoint is None else PREFIX + self.endpoint.name


class VictimCheck(BaseModel):
    """That a run has left its victim as it was; a run that has not ends without a result."""

    file_sha256: str = Field(description="Of the victim's file, the same before the first step and after the last")
    tensors_sha256: str = Field(description="Of its weights as they were computed with, likewise")


class Surface(BaseModel):
    """What was painted."""

    car: str = Field(description="Name, or `posted`")
    faces: int = Field(description="Triangles")
    painted_m2: float = Field(description="Painted surface in square metres")
    covered_m2: float = Field(description="How much of it was replaced")
    covered_share: float = Field(description="The same as a share")
    materials: dict[str, str] = Field(default={}, description="Of a posted mesh: the part each was taken for")


class LossPoint(BaseModel):
    """One step."""

    step: int = Field(description="From 1")
    losses: dict[str, float] = Field(description="By name")
    best_score: float = Field(description="Mean over the pictures of the victim's best score on the car")


class Steps(BaseModel):
    """How the texture was made."""

    done: int = Field(description="Steps")
    planned: int = Field(description="That were asked for")
    seconds: float = Field(description="Of all attempts")
    steps_per_s: float | None = Field(description="Null where nothing was done")
    trace: list[LossPoint] = Field(description="At most 200 steps, evenly")


class RateLine(BaseModel):
    """How often one detector finds the car under one texture."""

    detector: str = Field(description="Name")
    role: Literal["victim", "transfer"] = Field(description="Of the detector")
    texture: str = Field(description="`plain`, `grey`, `random` or `result`")
    threshold: float = Field(description="Least score that counts")
    frames: int = Field(description="Pictures")
    found: int = Field(description="On which a box of at least that score overlaps the car's by a half")
    rate: float = Field(description="Detection rate")
    low: float = Field(description="Of its 95 % interval")
    high: float = Field(description="Of its 95 % interval")
    lost: float | None = Field(
        description="Attack success rate: share of the pictures found with plain paint that are not found with this "
        "texture; null where none was found"
    )
    mean_score: float = Field(description="Mean of the best score on the car, 0 for none")
    ap50: float = Field(description="COCO's average precision of vehicles at an overlap of a half, at any score")


class ConditionLine(BaseModel):
    """The same at one place of the grid."""

    detector: str = Field(description="Name")
    texture: str = Field(description="Which")
    condition: ConditionName = Field(description="What is held")
    value: str = Field(description="At what; degrees, metres, a name or a number")
    frames: int = Field(description="Pictures")
    found: int = Field(description="At the threshold of `conditions_threshold`")
    rate: float = Field(description="Detection rate")


class CamouflageReport(BaseModel):
    """What came of a run."""

    format: Literal["facet.camouflage-report/1"] = Field(default=FORMAT, description="Version of this document")
    notice: str = Field(default=SIMULATION, description="What whoever reads it must know")
    plan: CamouflagePlan = Field(description="What was asked for")
    surface: Surface = Field(description="What was painted")
    detectors: list[DetectorUsed] = Field(description="The victim first")
    backgrounds: dict[str, int] = Field(description="Pictures or streets that were `learned` with and `held_out`")
    steps: Steps = Field(description="How the texture was made")
    texture_sha256: str | None = Field(
        default=None, description="Of the posted file that the texture began with; null: it began with noise"
    )
    victim_unchanged: VictimCheck | None = Field(
        default=None, description="Digests of the victim, which were the same before and after; null: not compared"
    )
    stopped: str | None = Field(description="Why it is not complete; null: it is")
    frames: int = Field(default=0, description="Conditions that were measured")
    left_out: int = Field(default=0, description="Conditions that show too little of the car")
    rule: str = Field(
        default=f"Conditions whose picture shows less than {LEAST_PIXELS:g} pixels of the car are left out before any "
        f"detector is asked. A box counts if its intersection over union with the car's is at least {OVERLAP:g}.",
        description="What is left out, and what counts",
    )
    textures: dict[str, str] = Field(default={}, description="What was compared, in words")
    rates: list[RateLine] = Field(default=[], description="By detector, texture and threshold")
    conditions_threshold: float = Field(default=THRESHOLDS[0], description="Score of the lines below")
    conditions: list[ConditionLine] = Field(default=[], description="By detector, texture and place of the grid")
    advice: list[str] = Field(default=[], description="What to do about it")
    caveats: list[str] = Field(default=list(CAVEATS), description="How to read this")


def rates_of(measured: Measured, roles: Mapping[str, Literal["victim", "transfer"]]) -> list[RateLine]:
    """Detection rates by detector, texture and threshold; none where nothing was measured."""
    return [
        _rate(sights, detector, role, texture, threshold)
        for detector, role in roles.items()
        if (sights := _seen_by(measured, detector))
        for texture in sights[0].looks[detector]
        for threshold in THRESHOLDS
    ]


def _seen_by(measured: Measured, detector: str) -> list[Sight]:
    """Conditions that a detector has answered about."""
    return [sight for sight in measured.sights if detector in sight.looks]


def _rate(
    sights: Sequence[Sight], detector: str, role: Literal["victim", "transfer"], texture: str, threshold: float
) -> RateLine:
    scores = [sight.looks[detector][texture].score for sight in sights]
    found = [score >= threshold for score in scores]
    plain = [sight.looks[detector][PLAIN].score >= threshold for sight in sights]
    lost = sum(before and not after for before, after in zip(plain, found, strict=True))
    rate = sum(found) / len(found)
    low, high = wilson_interval(rate, len(found))
    return RateLine(
        detector=detector,
        role=role,
        texture=texture,
        threshold=threshold,
        frames=len(found),
        found=sum(found),
        rate=round(rate, 4),
        low=round(low, 4),
        high=round(high, 4),
        lost=round(lost / sum(plain), 4) if any(plain) else None,
        mean_score=round(sum(scores) / len(scores), 4),
        ap50=round(average_precision([sight.looks[detector][texture] for sight in sights]), 4),
    )


_PLACES: Final[dict[ConditionName, Callable[[Sight], Any]]] = {
    "azimuth": lambda sight: sight.condition.camera.azimuth,
    "elevation": lambda sight: sight.condition.camera.elevation,
    "distance": lambda sight: sight.condition.camera.distance,
    "light": lambda sight: sight.condition.light,
    "background": lambda sight: sight.condition.background,
}


def conditions_of(measured: Measured, detectors: Sequence[str], *, threshold: float) -> list[ConditionLine]:
    """Detection rates at each place of each axis of the grid."""
    return [line for detector in detectors for line in _conditions(_seen_by(measured, detector), detector, threshold)]


def _conditions(sights: Sequence[Sight], detector: str, threshold: float) -> Iterator[ConditionLine]:
    for name, place in _PLACES.items():
        values = sorted({place(sight) for sight in sights})
        for value in values:
            there = [sight.looks[detector] for sight in sights if place(sight) == value]
            for texture in there[0]:
                found = sum(looks[texture].score >= threshold for looks in there)
                yield ConditionLine(
                    detector=detector,
                    texture=texture,
                    condition=name,
                    value=f"{value:g}" if isinstance(value, float) else str(value),
                    frames=len(there),
                    found=found,
                    rate=round(found / len(there), 4),
                )


def thin_trace(trace: Sequence[LossPoint], most: int = 200) -> list[LossPoint]:
    """At most so many points, evenly, the last one among them."""
    if len(trace) <= most:
        return list(trace)
    places = {round(number * (len(trace) - 1) / (most - 1)) for number in range(most)}
    return [trace[place] for place in sorted(places)]
