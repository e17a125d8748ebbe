"""Models of requests and answers of the evaluation route."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from services.uncertainty.conformal.schemas.calibrations import SEED_LIMIT, Alpha, ModelIdentity
from shared.http.deprecation import deprecated_since


class ChartKind(StrEnum):
    """What an image shows."""

    COVERAGE = "coverage"
    SIZE = "size"


class EvaluationOptions(BaseModel):
    """How to evaluate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: Alpha | None = Field(default=None, description="Level; the first of the calibration unless given")
    seed: int | None = Field(
        default=None, ge=0, lt=SEED_LIMIT, description="For other draws than those that follow from the items"
    )
    first_item: int | None = Field(
        default=None,
        ge=0,
        lt=2**62,
        description="Number of the first item, if draws are to follow from seed and number; otherwise from each item",
    )
    force_top1: bool = Field(default=False, description="Put the best class into empty sets")
    image: ChartKind = Field(
        default=ChartKind.COVERAGE,
        description="What image/png and image/svg+xml show: coverage by class (or by length of interval), or sizes",
    )
    picture: ChartKind | None = Field(
        default=None,
        description="The earlier name of `image`, taken until the next release",
        json_schema_extra=deprecated_since(datetime(2026, 11, 28, tzinfo=UTC)),
    )
    model_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="The model that made the values; must be the calibrated one"
    )

    @field_validator("picture")
    @classmethod
    def _refuse_both_names(cls, value: ChartKind | None, info: ValidationInfo) -> ChartKind | None:
        if value is not None and info.data.get("image") not in {ChartKind.COVERAGE, value}:
            raise ValueError("This is the earlier name of `image`, which says something else. Send `image` alone.")
        return value

    @property
    def chart(self) -> ChartKind:
        """What an image shows, under whichever name it was asked for."""
        return self.picture or self.image


class Coverage(BaseModel):
    """How many of the items are covered, and whether that surprises."""

    covered: int = Field(description="Items whose set or interval holds the truth")
    items: int = Field(description="Number of items")
    coverage: float = Field(description="Share of covered items")
    interval: tuple[float, float] = Field(description="Exact 95 % interval of this calibration's coverage (binomial)")
    expected_hits: tuple[int, int] | None = Field(
        description="Central 95 % of the number of covered items, by the Beta-Binomial law; where `one_sided` its 5 % "
        "quantile and the number of items; null where no law is known"
    )
    p_value: float | None = Field(
        description="Of so many or so few covered items, under that law, two-sided; where `one_sided` of so few only"
    )
    one_sided: bool = Field(
        default=False,
        description="Calibration scores tie near the threshold, or empty sets were filled: more covered items than the "
        "law says are no surprise, and only too few are tested",
    )


class StratumCoverage(BaseModel):
    """Coverage of a part of the items."""

    name: str = Field(description="Which part", examples=["size 2 to 3"])
    items: int = Field(description="Number of items")
    coverage: float | None = Field(description="Share of covered items so far; null where there are none")
    interval: tuple[float, float] | None = Field(description="Exact, 95 %")
    mean_size: float | None = Field(
        description="Mean number of classes in a set, or mean length of an interval; null: infinite, or no items"
    )


class ClassificationMetrics(BaseModel):
    """Metrics of sets."""

    average_size: float = Field(description="Mean number of classes in a set")
    size_histogram: list[int] = Field(description="Sets of 0, 1, ..., K classes")
    empty: int = Field(description="Sets or intervals that hold nothing")
    full: int = Field(description="Sets of all classes")
    singleton_rate: float = Field(description="Share of sets of one class")
    singleton_right: float = Field(description="Share of sets that are the true class alone")
    singleton_accuracy: float | None = Field(
        description="Share of sets of one class that are right; null: there are none"
    )
    macro_coverage: float = Field(description="Mean of the coverages of the classes that occur")
    coverage_gap: float = Field(description="CovGap in percent (Ding et al. 2023)")
    violated_classes: int = Field(description="Classes covered less than 1 - alpha")
    size_stratified_violation: float = Field(description="SSCV (Angelopoulos et al. 2021)")
    difficulty_violation: float | None = Field(description="DiffViolation, by rank of the true class; null for knn")
    worst_slab_coverage: float | None = Field(description="WSC (Cauchois et al. 2021); null without features")
    by_size: list[StratumCoverage] = Field(description="Coverage by the size of the sets")
    by_class: list[StratumCoverage] = Field(description="Coverage of each class")
    criteria: dict[str, float] | None = Field(
        description="S, N, U, F, M and observed ones of the p-values (Vovk et al. 2016); null where there are none"
    )


class RegressionMetrics(BaseModel):
    """Metrics of intervals."""

    average_length: float | None = Field(description="null: some are infinite")
    median_length: float | None = Field(
        description="Median length of the intervals, in the unit of the targets; null: infinite"
    )
    unbounded: int = Field(description="Intervals with an infinite end")
    empty: int = Field(description="Sets or intervals that hold nothing")
    mean_winkler_score: float | None = Field(description="Gneiting and Raftery 2007; null: infinite, or some empty")
    by_length: list[StratumCoverage] = Field(description="Coverage by tenths of the interval length")


class EvaluationAnswer(BaseModel):
    """What a calibration is worth on labelled items that it has not seen."""

    calibration: str = Field(description="Id of the calibration")
    version: str = Field(description="Version of the calibration: equal ones predict the same")
    model: ModelIdentity | None = Field(description="Whose answers were calibrated; null: not stated")
    alpha: float = Field(description="Miscoverage level")
    coverage: Coverage = Field(description="How many items are covered")
    classification: ClassificationMetrics | None = Field(
        default=None, description="Of a classification; null: it is none"
    )
    regression: RegressionMetrics | None = Field(default=None, description="Of a regression; null: it is none")
    warnings: list[str] = Field(description="What to know before it is used")
