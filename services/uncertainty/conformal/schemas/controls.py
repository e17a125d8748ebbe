"""Models of requests and answers of risk control, Venn-Abers prediction and predictive distributions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from services.uncertainty.conformal.methods.risk.risk_control import Correction
from services.uncertainty.conformal.methods.venn_abers.multiclass import Decomposition
from services.uncertainty.conformal.schemas.calibrations import Alpha, as_list
from services.uncertainty.conformal.schemas.used_options import require_used


class Procedure(StrEnum):
    """How a risk is controlled."""

    CRC = "crc"
    LTT = "ltt"
    RCPS = "rcps"


class MaskLoss(StrEnum):
    """What is lost in a mask or a set of labels."""

    FALSE_NEGATIVES = "false-negatives"
    FALSE_DISCOVERIES = "false-discoveries"


class Sequence(StrEnum):
    """In which order lambdas are tested, and which of the valid ones is answered."""

    ASCENDING = "ascending"
    DESCENDING = "descending"


_PROCEDURES: Final[Mapping[str, Collection[Procedure]]] = {
    "delta": {Procedure.RCPS, Procedure.LTT},
    "bound": {Procedure.CRC, Procedure.LTT},
    "correction": {Procedure.LTT},
    "sequence": {Procedure.LTT},
}
"""Which procedures look at an option."""


class RiskOptions(BaseModel):
    """Which risk, and how it is controlled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    procedure: Procedure = Field(
        default=Procedure.CRC,
        description="crc: E[loss] <= alpha, for losses that fall with lambda; rcps: P(risk <= alpha) >= 1 - delta, for "
        "those too; ltt: the same for any losses",
    )
    alpha: float = Field(default=0.1, ge=1e-9, le=1e6, description="Risk that is accepted, below the bound")
    delta: Alpha = Field(default=0.1, description="rcps, ltt: probability that the risk is larger after all")
    bound: float = Field(default=1.0, ge=1e-6, le=1e6, description="crc, ltt: largest possible loss; rcps: 1")
    correction: Correction = Field(
        default=Correction.FIXED_SEQUENCE, description="ltt: one lambda after the other in a sequence, or all at once"
    )
    sequence: Sequence | None = Field(
        default=None,
        description="ltt: ascending begins with the first lambda and answers the largest that is valid, for losses "
        "that are small for small sets (false discoveries, where it is the default); descending begins with the last "
        "and answers the smallest, for losses that fall with lambda",
    )
    loss: MaskLoss = Field(
        default=MaskLoss.FALSE_NEGATIVES,
        description="Share of true pixels missed, or share of the set that is not true (ltt); of posted masks, or what "
        "posted losses are",
    )

    @field_validator(*_PROCEDURES)
    @classmethod
    def _belongs_to_procedure(cls, value: Any, info: ValidationInfo) -> Any:
        return require_used(cls, value, info, choice="procedure", uses=_PROCEDURES)


class RiskAnswer(BaseModel):
    """Which lambdas keep the risk."""

    procedure: Procedure = Field(description="As asked")
    alpha: float = Field(description="Miscoverage level")
    n: int = Field(description="Items")
    lambda_: float | None = Field(
        serialization_alias="lambda",
        description="The smallest that is valid, with the smallest sets; with an ascending sequence (false "
        "discoveries) the largest, with the largest sets. null: none is valid",
    )
    valid: list[bool] = Field(description="Of each lambda")
    lambdas: list[float] = Field(description="The grid")
    risks: list[float] = Field(description="Mean loss at each lambda")
    bounds: list[float] | None = Field(description="crc: (n risk + B) / (n + 1)")
    p_values: list[float] | None = Field(description="ltt, rcps: of the hypothesis that the risk exceeds alpha")
    set_shares: list[float] | None = Field(description="Of masks: mean share that is in the set, the price of the risk")
    n_required: int | None = Field(description="crc: items with which a loss of 0 would be accepted")
    warnings: list[str] = Field(default=[], description="What to know before the lambda is used")
    guarantee: str = Field(description="What holds, in words")


class VennAbersOptions(BaseModel):
    """How probabilities are calibrated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decomposition: Decomposition = Field(
        default=Decomposition.ONE_AGAINST_ONE,
        description="More than two classes: which binary questions stand for them",
    )


class ProbabilityPair(BaseModel):
    """Two probabilities of the label 1, of which one is calibrated."""

    p0: float = Field(description="Probability of the label 1 if the item had the label 0")
    p1: float = Field(description="Probability of the label 1 if the item had the label 1")
    probability: float = Field(description="One of them both, p1 / (1 - p0 + p1)")


class VennAbersAnswer(BaseModel):
    """Calibrated probabilities of the test items."""

    n: int = Field(description="Calibration items")
    pairs: list[ProbabilityPair] | None = Field(default=None, description="Two classes: one for each test score")
    probabilities: list[list[float]] | None = Field(
        default=None, description="More classes: one for each class, in the order of the columns; rows add up to 1"
    )
    class_names: list[str] | None = Field(
        default=None, description="Names of the classes 0 to K - 1, as posted; null: none were"
    )
    guarantee: str = Field(description="What holds, in words")


LevelList = Annotated[list[Annotated[float, Field(ge=0, le=1)]], BeforeValidator(as_list), Field(max_length=99)]
ValueList = Annotated[
    list[Annotated[float, Field(ge=-1e100, le=1e100)]], BeforeValidator(as_list), Field(max_length=99)
]


class DistributionOptions(BaseModel):
    """What to ask of the distributions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantiles: LevelList = Field(
        default=[0.05, 0.25, 0.5, 0.75, 0.95], description="Levels; below 1/2 rounded down, else up"
    )
    values: ValueList = Field(default=[], description="Values t of which P(Y <= t) is asked")


class Distribution(BaseModel):
    """The predictive distribution of one point."""

    quantiles: list[float | None] = Field(description="null: infinite, too few residuals for this level")
    probabilities: list[float] = Field(description="P(Y <= t) of the values asked")
    crps: float | None = Field(default=None, description="Where test_targets are posted: smaller is better")


class DistributionAnswer(BaseModel):
    """Predictive distributions of the test points."""

    n: int = Field(description="Calibration items")
    quantiles: list[float] = Field(description="Levels, as asked")
    values: list[float] = Field(description="Values t, as asked")
    distributions: list[Distribution] = Field(description="One for each test point")
    guarantee: str = Field(description="What holds, in words")
