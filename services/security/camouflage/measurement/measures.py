"""How well a car is found in many frames: detection rate, confidence, AP50, and how often an attack succeeds.

Each frame has one car, whose box the renderer knows. Frames of one view are alike whatever light and background they
have, so intervals draw views again, with all of their frames (Efron and Tibshirani 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from services.security.camouflage.detection.detectors import Found
from shared.detectors.detections import intersection_over_union
from shared.intervals import LEVEL

OVERLAP: Final = 0.5
"""Intersection over union with the car's box from which on a detection is of the car."""

RESAMPLES: Final = 1000
_RECALLS: Final = np.linspace(0, 1, 101)
"""Where COCO reads precision off."""
_MOST_DETECTIONS: Final = 100
"""Of a frame, the surest, as COCO has it."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a frame was made.

    Attributes:
        view: number of the camera's place; frames of one view belong together in intervals.
        azimuth_degrees: from where the car is seen, 0 from ahead.
        elevation_degrees: of the camera above the horizon.
        distance_m: of the camera.
        light: name of it.
        background: name of it.
    """

    view: int
    azimuth_degrees: float
    elevation_degrees: float
    distance_m: float
    light: str
    background: str


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a detector made of one frame.

    Attributes:
        conditions: of the frame.
        score: of the surest detection that is of the car, 0 if there is none.
        scores: float32 (n,), of all vehicles found, the surest first.
        hit: place of the detection that counts as the car in average precision, -1 if there is none.
    """

    conditions: Conditions
    score: float
    scores: NDArray[np.float32]
    hit: int


def look(found: Found, box: Sequence[float], conditions: Conditions) -> Look:
    """What was found of the car in a frame.

    Args:
        found: by a detector.
        box: left, top, right and bottom edge of the car in pixels.
        conditions: of the frame.
    """
    order = np.argsort(-found.scores, kind="stable")[:_MOST_DETECTIONS]
    scores, car = found.scores[order], np.array([box], np.float32)
    of_car = np.flatnonzero(intersection_over_union(found.boxes[order], car)[:, 0] >= OVERLAP)
    hit = int(of_car[0]) if len(of_car) else -1
    return Look(conditions, float(scores[hit]) if hit >= 0 else 0.0, scores, hit)


class Estimate(BaseModel):
    """A measured value."""

    model_config = ConfigDict(frozen=True)

    value: float | None = Field(description="Null where there was nothing to measure")
    interval: tuple[float, float] | None = Field(
        default=None, description="95 % interval, bootstrap over views; null where there are fewer than two"
    )


class DetectionFigures(BaseModel):
    """How well the car is found."""

    model_config = ConfigDict(frozen=True)

    frames: int = Field(description="Frames, each with one car", ge=1)
    views: int = Field(description="Different places of the camera among them", ge=1)
    threshold: float = Field(description="Least score of a detection that counts in rates")
    detection_rate: Estimate = Field(description="Share of frames in which the car is found, at an IoU of 0.5")
    mean_score: Estimate = Field(description="Mean score of the surest detection of the car, 0 where it is not found")
    ap50: Estimate = Field(description="Average precision of vehicles at an IoU of 0.5, as COCO defines it")
    attack_success: Estimate | None = Field(
        default=None,
        description="Of frames in which the car is found in its reference paint, the share in which it is not found in "
        "this one; null without a reference",
    )


class BinFigures(BaseModel):
    """Frames of one kind."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Of the kind", examples=["15 to 30"])
    figures: DetectionFigures


def measure(
    looks: Sequence[Look],
    *,
    threshold: float,
    reference: Sequence[Look] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> DetectionFigures:
    """Figures of frames.

    Args:
        looks: at the frames, at least one.
        threshold: least score of a detection that counts in rates.
        reference: looks at the same frames with the reference paint, in the same order.
        resamples: of the bootstrap.
        seed: of it.

    Raises:
        ValueError: there are no frames, or the reference has others.
    """
    if not looks:
        raise ValueError("there are no frames to measure")
    if reference is not None and [one.conditions for one in reference] != [one.conditions for one in looks]:
        raise ValueError("the reference paint was seen in other frames")
    views = np.unique([one.conditions.view for one in looks], return_inverse=True)[1]
    weights = _draw_again(views, resamples, seed)
    scores = np.array([one.score for one in looks])
    found = (scores >= threshold).astype(float)
    success = None
    if reference is not None:
        before = (np.array([one.score for one in reference]) >= threshold).astype(float)
        success = _mean(1 - found, weights, among=before)
    ranking = _rank(looks)
    return DetectionFigures(
        frames=len(looks),
        views=int(views.max()) + 1,
        threshold=threshold,
        detection_rate=_mean(found, weights),
        mean_score=_mean(scores, weights),
        ap50=_estimate(
            _average_precision(ranking, np.ones(len(looks))), [_average_precision(ranking, w) for w in weights]
        ),
        attack_success=success,
    )


def average_precision(looks: Sequence[Look]) -> float:
    """AP50 of vehicles, as COCO defines it (mean precision at 101 recalls); every frame has one car."""
    return _average_precision(_rank(looks), np.ones(len(looks)))


BinOf: TypeAlias = Callable[[Conditions], tuple[float, str]]
"""The kind that a frame is of: where it comes in order, and its name."""


def _between(width: float) -> Callable[[float], tuple[float, str]]:
    def name(value: float) -> tuple[float, str]:
        low = np.floor(value / width) * width
        return float(low), f"{low:g} to {low + width:g}"

    return name


_DEGREES_15, _DEGREES_10, _METRES_3 = _between(15.0), _between(10.0), _between(3.0)

BREAKDOWNS: Final[Mapping[str, BinOf]] = {
    "azimuth_degrees": lambda one: _DEGREES_15(one.azimuth_degrees % 360),
    "elevation_degrees": lambda one: _DEGREES_10(one.elevation_degrees),
    "distance_m": lambda one: _METRES_3(one.distance_m),
    "light": lambda one: (0.0, one.light),
    "background": lambda one: (0.0, one.background),
}
"""What figures are broken down by."""


def break_down(
    looks: Sequence[Look],
    *,
    threshold: float,
    reference: Sequence[Look] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, list[BinFigures]]:
    """Figures of frames of each kind, by what they are told apart by; arguments as of `measure`."""
    found: dict[str, list[BinFigures]] = {}
    for name, bin_of in BREAKDOWNS.items():
        places: dict[tuple[float, str], list[int]] = {}
        for place, one in enumerate(looks):
            places.setdefault(bin_of(one.conditions), []).append(place)
        found[name] = [
            BinFigures(
                name=kind[1],
                figures=measure(
                    [looks[place] for place in chosen],
                    threshold=threshold,
                    reference=None if reference is None else [reference[place] for place in chosen],
                    resamples=resamples,
                    seed=seed,
                ),
            )
            for kind, chosen in sorted(places.items())
        ]
    return found


def _draw_again(views: NDArray[np.intp], resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each frame is in each resample, (resamples, frames); none where there is one view."""
    count = int(views.max()) + 1
    if count < 2:
        return np.zeros((0, len(views)))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn[:, views].astype(float)


def _mean(
    values: NDArray[np.float64], weights: NDArray[np.float64], *, among: NDArray[np.float64] | None = None
) -> Estimate:
    """Mean of values of frames, or of those among them that are 1 there."""
    counted = np.ones(len(values)) if among is None else among
    if not counted.any():
        return Estimate(value=None)
    totals = weights @ counted
    drawn = (weights @ (values * counted))[totals > 0] / totals[totals > 0]
    return _estimate(float((values * counted).sum() / counted.sum()), drawn)


def _estimate(value: float, drawn: Sequence[float] | NDArray[np.float64]) -> Estimate:
    if len(drawn) == 0:
        return Estimate(value=value)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=value, interval=(float(low), float(high)))


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """All detections, the surest first: which frame each is of, and whether it is the car of it."""

    frames: NDArray[np.intp]
    hits: NDArray[np.bool_]


def _rank(looks: Sequence[Look]) -> _Ranking:
    frames = np.repeat(np.arange(len(looks)), [len(one.scores) for one in looks])
    scores = np.concatenate([one.scores for one in looks])
    hits = np.concatenate([np.arange(len(one.scores)) == one.hit for one in looks])
    order = np.argsort(-scores, kind="stable")
    return _Ranking(frames[order], hits[order])


def _average_precision(ranking: _Ranking, weights: NDArray[np.float64]) -> float:
    """Of frames that count as often as their weights say."""
    counts = weights[ranking.frames]
    right = np.cumsum(counts * ranking.hits)
    precision = right / np.maximum(np.cumsum(counts), 1e-12)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / weights.sum(), _RECALLS - 1e-12)
    reached = places < len(right)
    return float(envelope[places[reached]].sum() / len(_RECALLS))
