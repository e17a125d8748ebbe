"""Models of requests and answers of the monitor routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from services.uncertainty.conformal.methods.online.martingales import Bet
from services.uncertainty.conformal.schemas.bases import (
    NamedOptions,
    Page,
    SequencedOptions,
    StateAnswer,
    StepsAnswer,
)
from services.uncertainty.conformal.schemas.calibrations import SEED_LIMIT, Alpha
from services.uncertainty.conformal.schemas.used_options import require_used

SCORES_LIMIT = 50_000
"""Most scores that a monitor remembers, those of its calibration among them."""


class MonitorInput(StrEnum):
    """What a monitor observes."""

    P_VALUES = "p-values"
    SCORES = "scores"

    @property
    def array(self) -> str:
        """Name of the array that observations are posted as."""
        return self.value.replace("-", "_")


_INPUTS: Final[Mapping[str, Collection[MonitorInput]]] = {
    "calibration": {MonitorInput.SCORES},
    "seed": {MonitorInput.SCORES},
}
"""Which kind of observations looks at an option."""


class MonitorOptions(NamedOptions):
    """A monitor to begin."""

    observes: MonitorInput = Field(
        default=MonitorInput.SCORES,
        description="scores: of items, whose p-values among all before are computed; p-values: online ones, smoothed",
    )
    calibration: str | None = Field(
        default=None,
        max_length=100,
        description="A calibration of yours with one threshold: its scores come first, labelled items may be posted",
    )
    bet: Bet = Field(default=Bet.JUMPER, description="How capital is put on p-values")
    delta: Alpha = Field(default=0.01, description="Probability of ever a false alarm; the alarm is at capital 1/delta")
    threshold: float = Field(
        default=1000.0, gt=1, le=1e12, description="CUSUM and Shiryaev-Roberts: steps between false alarms, at least"
    )
    seed: int = Field(default=0, ge=0, lt=SEED_LIMIT, description="scores: of the draws that break ties")

    @field_validator(*_INPUTS)
    @classmethod
    def _belongs_to_input(cls, value: Any, info: ValidationInfo) -> Any:
        return require_used(cls, value, info, choice="observes", uses=_INPUTS)


class MonitorObservations(SequencedOptions):
    """What the monitor sees next, beside the arrays."""


class Alarm(BaseModel):
    """One way of noticing a change."""

    raised: bool = Field(description="Whether it was ever raised")
    step: int | None = Field(description="Observation at which it was first raised")
    value: float = Field(description="Natural logarithm of the statistic now")
    threshold: float = Field(description="Natural logarithm of its threshold")


class MonitorAnswer(StateAnswer):
    """A monitor as it is now."""

    observes: MonitorInput = Field(description="What observations hold")
    calibration: str | None = Field(description="Id of the calibration that scores come from; null: none")
    alarm: bool = Field(description="The martingale has reached 1/delta: exchangeability is refuted at level delta")
    martingale: Alarm = Field(description="Capital of the bets: P(it ever reaches 1/delta) <= delta (Ville)")
    cusum: Alarm = Field(description="For late changes")
    shiryaev_roberts: Alarm = Field(description="For late changes")
    p_value: float = Field(description="Evidence against exchangeability, valid at any time")
    advice: str = Field(description="What to do, in words")


class MonitorStep(BaseModel):
    """What one observation did."""

    sequence: int = Field(description="Number of the observation, from 1")
    p_value: float = Field(description="Of the observation among all before, in (0, 1]")
    log_capital: float = Field(description="Natural logarithm of the capital of the bets after it")
    alarm: bool = Field(description="Whether the capital has ever reached 1/delta")


class MonitorStepsAnswer(StepsAnswer):
    """What the observations did."""

    observations: list[MonitorStep] = Field(description="One for each observation, in their order")
    alarm: bool = Field(description="Whether the capital has ever reached 1/delta")
    alarm_step: int | None = Field(description="Observation at which it first did; null: it has not")


class MonitorList(Page):
    """One page of monitors, newest first."""

    monitors: list[MonitorAnswer] = Field(description="Yours, newest first")
