"""Models of requests and answers of the stream routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from services.uncertainty.conformal.methods.online.adaptive_inference import CAPACITY
from services.uncertainty.conformal.methods.online.aggregated_aci import GAMMAS, INTERVAL
from services.uncertainty.conformal.methods.online.conformal_pid import WINDOW
from services.uncertainty.conformal.schemas.bases import (
    NamedOptions,
    Page,
    SequencedOptions,
    StateAnswer,
    StepsAnswer,
)
from services.uncertainty.conformal.schemas.calibrations import Alpha, RegressionScore
from services.uncertainty.conformal.schemas.used_options import require_used

BATCH_LIMIT = 1000
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e100, le=1e100)]
Step = Annotated[float, Field(ge=1e-100, le=1e100, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]


class StreamMethod(StrEnum):
    """How the bound follows the stream."""

    ACI = "aci"
    AGACI = "agaci"
    DTACI = "dtaci"
    QUANTILE_TRACKING = "quantile-tracking"
    PID = "pid"


class StreamScore(StrEnum):
    """What an observation is made of."""

    ABSOLUTE = "absolute"
    NORMALISED = "normalised"
    CQR = "cqr"
    CQR_R = "cqr-r"
    CQR_M = "cqr-m"
    CQR_FM = "cqr-fm"
    DIRECT = "direct"

    @property
    def of_regression(self) -> RegressionScore | None:
        """The score of a regression; None where scores are posted directly."""
        return None if self is StreamScore.DIRECT else RegressionScore(self.value)


_TRACKING: Final = (StreamMethod.QUANTILE_TRACKING, StreamMethod.PID)
_METHODS: Final[Mapping[str, Collection[StreamMethod]]] = {
    "gamma": {StreamMethod.ACI},
    "first_level": {StreamMethod.ACI},
    "gammas": {StreamMethod.AGACI, StreamMethod.DTACI},
    "interval": {StreamMethod.DTACI},
    "step_size": _TRACKING,
    "relative": _TRACKING,
    "first_bound": _TRACKING,
    "gain": {StreamMethod.PID},
    "saturation": {StreamMethod.PID},
}
"""Which methods look at an option."""


class StreamOptions(NamedOptions):
    """A stream to begin."""

    method: StreamMethod = Field(default=StreamMethod.ACI, description="How the bound follows the stream")
    alpha: Alpha = Field(default=0.1, description="Miscoverage that is aimed at")
    score: StreamScore = Field(
        default=StreamScore.ABSOLUTE,
        description="What observations hold: absolute: prediction; normalised: prediction, difficulty; cqr, cqr-r: "
        "lower, upper; cqr-m, cqr-fm: lower, median, upper; each with the label. direct: the score of the label itself",
    )
    scores: list[Number] = Field(default=[], max_length=10_000, description="Of earlier data, oldest first")
    capacity: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description=f"How many of the latest scores are kept; {CAPACITY}, or {WINDOW} for tracking and pid",
    )
    gamma: Rate = Field(default=0.005, description="aci: step size of the level")
    first_level: float | None = Field(default=None, ge=0, le=1, description="aci: alpha_1; alpha unless given")
    gammas: list[Rate] = Field(
        default=list(GAMMAS), min_length=1, max_length=64, description="agaci, dtaci: the experts' step sizes"
    )
    interval: int = Field(
        default=INTERVAL, ge=1, le=1_000_000, description="dtaci: steps over which it is to be no worse than the best"
    )
    step_size: Step = Field(default=0.1, description="quantile-tracking, pid: of the bound after a miss")
    relative: bool = Field(
        default=True, description="quantile-tracking, pid: step_size is a share of the range of the latest scores and 0"
    )
    first_bound: Number = Field(default=0.0, description="quantile-tracking, pid: the first bound")
    gain: float = Field(default=1.0, ge=0, le=1e100, description="pid: K_I of the integrator, in the score's unit")
    saturation: Rate = Field(default=1.0, description="pid: C_sat of the integrator")

    @field_validator(*_METHODS)
    @classmethod
    def _belongs_to_method(cls, value: Any, info: ValidationInfo) -> Any:
        return require_used(cls, value, info, choice="method", uses=_METHODS)


class Point(BaseModel):
    """What is predicted for the next label; which fields, the stream's score says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prediction: Number | None = Field(default=None, description="Predicted value", examples=[1.2])
    difficulty: Step | None = Field(default=None, description="Expected size of the error")
    lower: Number | None = Field(default=None, description="Predicted lower quantile")
    median: Number | None = Field(default=None, description="Predicted median")
    upper: Number | None = Field(default=None, description="Predicted upper quantile")
    forecast: Number | None = Field(
        default=None, description="quantile-tracking, pid: forecast of the score, added to the bound"
    )


class Observation(Point):
    """A prediction and the label that came."""

    label: Number | None = Field(default=None, description="What was observed", examples=[1.5])
    score: Number | None = Field(default=None, description="direct: the score of the label")


class Observations(SequencedOptions):
    """Observations in their order."""

    observations: list[Observation] = Field(min_length=1, max_length=BATCH_LIMIT, description="In their order")


class Points(BaseModel):
    """Points to make intervals for, without observing anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: list[Point] = Field(min_length=1, max_length=BATCH_LIMIT, description="Each as if it came next")


class StreamInterval(BaseModel):
    """The interval before the label."""

    lower: float | None = Field(description="null: unbounded, or empty")
    upper: float | None = Field(description="null: unbounded, or empty")
    empty: bool = Field(description="The level has risen to 1 or more: nothing is in")
    bounds: tuple[float | None, float | None] = Field(description="Of the score below and above; null: infinite")


class ObservationAnswer(BaseModel):
    """What was predicted, and whether it held."""

    sequence: int = Field(description="Number of the observation, from 1")
    interval: StreamInterval = Field(description="What was predicted before the label was known")
    missed: bool = Field(description="The label lay outside")


class ObservationsAnswer(StepsAnswer):
    """Answers to observations."""

    observations: list[ObservationAnswer] = Field(description="One for each observation, in their order")
    misses: int = Field(description="Labels that lay outside of their interval")
    coverage: float | None = Field(description="Share of covered items so far; null where there are none")


class PointsAnswer(BaseModel):
    """Intervals of points that are not observed yet."""

    intervals: list[StreamInterval] = Field(description="One for each point")
    steps: int = Field(description="Observations so far")


class StreamAnswer(StateAnswer):
    """A stream as it is now."""

    method: StreamMethod = Field(description="How the bound follows the stream")
    alpha: float = Field(description="Miscoverage level")
    score: StreamScore = Field(description="What observations hold")
    misses: int = Field(description="Labels that lay outside of their interval")
    coverage: float | None = Field(description="Share of covered items so far; null where there are none")
    level: float | None = Field(description="The level in use now, where the method has one; may leave [0, 1]")
    error_bound: float | None = Field(
        description="aci: |share of misses - alpha| cannot exceed this, whatever the stream (Gibbs and Candès 2021)"
    )
    next_bounds: tuple[float | None, float | None] = Field(description="Of the next label's score; null: infinite")
    window: int = Field(description="Scores in memory")


class StreamList(Page):
    """One page of streams, newest first."""

    streams: list[StreamAnswer] = Field(description="Yours, newest first")
