"""Models of requests and answers of the prediction route."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from services.uncertainty.conformal.schemas.calibrations import SEED_LIMIT, AlphaList, ModelIdentity


class PredictionOptions(BaseModel):
    """What to predict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: AlphaList | None = Field(
        default=None, description="Levels, any; those of the calibration unless given. A file answers the first"
    )
    p_values: bool = Field(default=False, description="classification: the p-value of each class too")
    force_top1: bool = Field(default=False, description="Put the best class into empty sets; coverage only rises")
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=SEED_LIMIT,
        description="For other draws of the same items than those that follow from calibration and item",
    )
    first_item: int | None = Field(
        default=None,
        ge=0,
        lt=2**62,
        description="Number of the first item, if draws are to follow from seed and number. Without it the draw of an "
        "item follows from the calibration and the item itself (its row of values, its image), in any batch",
    )
    smoothed: bool = Field(
        default=False,
        description="Sets and p-values break ties by another draw: p-values are exactly uniform, coverage is exact",
    )
    model_sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="The model that made the posted values; must be the calibrated",
    )


class PredictedSet(BaseModel):
    """The set of one item at one level: the classes whose p-value is above alpha (of rc3p also within rank limits)."""

    alpha: float = Field(description="Miscoverage level")
    labels: list[int] = Field(
        description="Classes in the set, ascending: numbers of columns from 0, or the labels of knn's training items",
        examples=[[14]],
    )
    names: list[str] | None = Field(
        default=None, description="Names of these classes, where the calibration was given class_names"
    )
    size: int = Field(description="Number of classes in the set")
    empty: bool = Field(description="No class fits at this level: the item is unlike those of the calibration")
    full: bool = Field(description="Every class is in")


class PredictedItem(BaseModel):
    """One item."""

    item: int = Field(description="Number of the item")
    sets: list[PredictedSet] = Field(description="One for each level")
    p_values: list[float] | None = Field(
        default=None,
        description="Of each class, that the item has it: the share of calibration scores, its own among them, that "
        "are no better. No probabilities of classes: they do not add up to 1. null: not asked for",
    )
    credibility: float | None = Field(default=None, description="Largest p-value: small where no class fits")
    confidence: float | None = Field(default=None, description="1 minus the second largest p-value")


class PredictedInterval(BaseModel):
    """The interval of one item at one level, in the unit of the targets."""

    alpha: float = Field(description="Miscoverage level")
    lower: float | None = Field(description="null: unbounded")
    upper: float | None = Field(description="null: unbounded")
    empty: bool = Field(description="Ends that crossed: a band wider than the level needs")


class PredictedPoint(BaseModel):
    """One item of a regression."""

    item: int = Field(description="Number of the item")
    intervals: list[PredictedInterval] = Field(description="One for each level")


class PredictionAnswer(BaseModel):
    """Sets or intervals."""

    calibration: str = Field(description="Id of the calibration")
    version: str = Field(description="Its version: equal ones predict the same")
    model: ModelIdentity | None = Field(description="Whose answers were calibrated; null: not stated")
    seed: int | None = Field(description="As posted; null: none was given")
    first_item: int = Field(description="Number of the first item: as posted, or 0")
    draws: Literal["none", "by-item", "by-number"] = Field(
        description="Where the random number of an item comes from. none: the score needs none; by-item: from "
        "calibration, seed and the item's own values or image; by-number: from seed and the item's number"
    )
    items: list[PredictedItem] | None = Field(default=None, description="classification")
    points: list[PredictedPoint] | None = Field(default=None, description="regression")
    warnings: list[str] = Field(description="What to know before it is used")
    guarantee: str = Field(description="What holds, in words")
