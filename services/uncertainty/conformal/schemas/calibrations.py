"""Models of requests and answers of the calibration and prediction routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from services.uncertainty.conformal.schemas.bases import NamedOptions, Page
from services.uncertainty.conformal.schemas.used_options import STORED, require_used

Alpha = Annotated[float, Field(gt=0, lt=1), Field(ge=1e-9)]
"""A level; below 1e-9 a threshold would need more than a thousand million items."""


def as_list(value: Any) -> Any:
    """A field of a form that is sent once is a list of one."""
    return value if isinstance(value, list) else [value]


AlphaList = Annotated[list[Alpha], BeforeValidator(as_list), Field(min_length=1, max_length=32)]

SEED_LIMIT = 2**63


class ScoreName(StrEnum):
    """Nonconformity scores of classification."""

    THR = "thr"
    APS = "aps"
    RAPS = "raps"
    SAPS = "saps"
    TOPK = "topk"
    MARGIN = "margin"
    KNN = "knn"
    ENTMAX = "entmax"


def _canonical_score(value: Any) -> Any:
    """Least ambiguous classifiers (LAC) is what others call the threshold score (THR)."""
    return ScoreName.THR if value == "lac" else value


class Method(StrEnum):
    """Which calibration scores an item is compared with."""

    SPLIT = "split"
    CLASS = "class"
    GROUP = "group"
    CLUSTERED = "clustered"
    WEIGHTED = "weighted"
    RC3P = "rc3p"


class RegressionScore(StrEnum):
    """Scores of regression: distance from a band in a unit."""

    ABSOLUTE = "absolute"
    NORMALISED = "normalised"
    CQR = "cqr"
    CQR_R = "cqr-r"
    CQR_M = "cqr-m"
    CQR_FM = "cqr-fm"


_SCORES: Final[Mapping[str, Collection[ScoreName]]] = {
    "randomised": {ScoreName.APS, ScoreName.RAPS, ScoreName.SAPS, ScoreName.TOPK},
    "log": {ScoreName.THR, ScoreName.MARGIN},
    "penalty": {ScoreName.RAPS},
    "free_ranks": {ScoreName.RAPS},
    "weight": {ScoreName.SAPS},
    "neighbours": {ScoreName.KNN},
    "gamma": {ScoreName.ENTMAX},
}
"""Which scores look at an option."""
_METHODS: Final[Mapping[str, Collection[Method]]] = {
    "with_labels": {Method.GROUP},
    "clusters": {Method.CLUSTERED},
    "cluster_share": {Method.CLUSTERED},
}
"""Which methods look at an option."""


class _Options(NamedOptions):
    alpha: AlphaList = Field(
        default=[0.1],
        description="Miscoverage levels to report; predictions may ask for any other level. A form repeats the field",
    )
    model_name: str | None = Field(
        default=None, max_length=100, description="The model that made the posted values, for the record"
    )
    model_version: str | None = Field(default=None, max_length=100, description="Its version")
    model_sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="Digest of its weights; predictions that state another one are refused",
    )


class ClassificationOptions(_Options):
    """How to calibrate a classifier."""

    kind: Literal["classification"] = Field(default="classification", description="classification: sets of classes")
    model: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="A classifier of the fleet (`/v1/models`) to calibrate, in a job: post labelled images as `file`",
        examples=["traffic-signs"],
    )
    score: Annotated[ScoreName, BeforeValidator(_canonical_score)] = Field(
        default=ScoreName.THR, description="Nonconformity score; lac is another name of thr"
    )
    method: Method = Field(
        default=Method.SPLIT,
        description="split: one threshold; class: one for each class; group: for each posted group; clustered: for "
        "clusters of classes; weighted: by posted weights, under covariate shift; rc3p: for each class, by rank too",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=SEED_LIMIT,
        description="Of the draws of randomised scores and of clusters; follows from the posted arrays unless given. "
        "The answer's `options` say which it was",
    )
    randomised: bool = Field(
        default=True, description="aps, raps, saps, topk: exact coverage by a draw of each item, echoed by its seed"
    )
    log: bool = Field(default=False, description="thr, margin: logarithms of probabilities")
    penalty: float = Field(default=0.1, ge=0, le=1e6, description="raps: lambda, for each rank beyond free_ranks")
    free_ranks: int = Field(default=2, ge=0, le=1_000_000, description="raps: k_reg, ranks without a penalty")
    weight: float = Field(default=0.2, gt=0, le=1e6, description="saps: lambda, of each rank")
    neighbours: int = Field(default=10, ge=1, le=1000, description="knn: k")
    gamma: float = Field(default=2, ge=1, le=1e3, description="entmax: 1 softmax, 2 sparsemax")
    with_labels: bool = Field(default=False, description="group: a threshold for each group and class")
    clusters: int | None = Field(
        default=None, ge=1, le=1000, description="clustered: how many; by the authors' rule unless given"
    )
    cluster_share: float | None = Field(
        default=None, gt=0, lt=1, description="clustered: share of items that finds them; with `clusters` only"
    )

    @field_validator("model")
    @classmethod
    def _states_itself(cls, value: str | None, info: ValidationInfo) -> str | None:
        stated = [name for name in ("model_name", "model_version", "model_sha256") if info.data.get(name) is not None]
        if value is not None and stated and info.context != STORED:
            raise ValueError(f"a classifier of the fleet says itself what it is: leave out {', '.join(stated)}")
        return value

    @field_validator(*_SCORES)
    @classmethod
    def _belongs_to_score(cls, value: Any, info: ValidationInfo) -> Any:
        return require_used(cls, value, info, choice="score", uses=_SCORES)

    @field_validator(*_METHODS)
    @classmethod
    def _belongs_to_method(cls, value: Any, info: ValidationInfo) -> Any:
        return require_used(cls, value, info, choice="method", uses=_METHODS)

    @model_validator(mode="after")
    def _fit(self) -> ClassificationOptions:
        if (self.clusters is None) != (self.cluster_share is None):
            raise ValueError("clusters and cluster_share are given together or not at all")
        if self.model is not None and (self.method in {Method.GROUP, Method.WEIGHTED} or self.score is ScoreName.KNN):
            raise ValueError("of images there are no groups, weights or features; post values to calibrate by them")
        if self.method is Method.RC3P and self.score is ScoreName.KNN:
            raise ValueError("rc3p ranks logits or probabilities; knn has none")
        return self


class RegressionOptions(_Options):
    """How to calibrate a regression."""

    kind: Literal["regression"] = Field(description="regression: intervals")
    score: RegressionScore = Field(default=RegressionScore.ABSOLUTE, description="Score, which says what to post")
    method: Literal["split", "group", "weighted"] | None = Field(
        default=None,
        description="What the posted arrays say by themselves: split: neither groups nor weights; group: groups; "
        "weighted: weights; arrays that do not fit it are refused",
    )
    asymmetric: bool = Field(default=False, description="Bound each side by itself, at alpha / 2")


class ModelIdentity(BaseModel):
    """The model whose answers were calibrated."""

    name: str | None = Field(description="Its name; null: not stated", examples=["traffic-signs"])
    version: str | None = Field(description="Its version; null: not stated", examples=["1.0.0"])
    weights_sha256: str | None = Field(description="Predictions of another model are refused")
    served_by: str | None = Field(
        default=None, description="The fleet's domain that serves it", examples=["perception"]
    )


class CellThreshold(BaseModel):
    """The threshold of one cell at one level."""

    alpha: float = Field(description="Miscoverage level", examples=[0.1])
    q: float | None = Field(
        description="Scores of at most this are in; null: infinite, everything is in (rc3p: up to rank_limit)"
    )
    n_required: int = Field(description="Scores in the cell that a finite threshold needs", examples=[9])
    rank_limit: int | None = Field(default=None, description="rc3p: labels of a larger rank are left out")
    tied: int | None = Field(
        default=None,
        description="Calibration scores that are equal to q, itself among them; null where q is infinite or no score "
        "of this cell",
    )
    one_sided: bool = Field(
        default=False,
        description="Scores tie near q, so that coverage may be higher than the law says: `coverage_band` and "
        "`expected_coverage` are lower limits only",
    )
    coverage_band: tuple[float, float] | None = Field(
        description="95 % of calibrations have a true coverage in here: Beta(k, n + 1 - k), where `one_sided` from its "
        "5 % quantile to 1; null where no law is known"
    )
    expected_coverage: float | None = Field(
        description="k / (n + 1), over draws of calibration and test items; where `one_sided` at least this"
    )


class CellSummary(BaseModel):
    """What is compared with what."""

    cell: str = Field(description="all, or the class, group or cluster", examples=["all"])
    tail: Literal["both", "below", "above"] = Field(default="both", description="asymmetric: the side")
    n: int = Field(description="Calibration scores", examples=[5000])
    effective_n: float = Field(description="Equal weights that say as much; n without weights")
    thresholds: list[CellThreshold] = Field(description="One for each level")


class LevelSummary(BaseModel):
    """One level over all cells."""

    alpha: float = Field(description="Miscoverage level")
    n_required: int = Field(description="Scores in a cell that a finite threshold needs; of a side if asymmetric")
    unbounded_cells: int = Field(description="Cells with too few scores for a finite threshold")
    expected_size: float | None = Field(
        description="Mean size of sets, or length of intervals, on the calibration items themselves (2,000 of them at "
        "most, fewer of scores that take long); null where one is infinite, or where no item could be tried"
    )


class CalibrationAnswer(BaseModel):
    """A calibration. It never changes: another calibration is another resource."""

    id: str = Field(description="Of the calibration", examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"])
    version: str = Field(description="sha256 of the kept scores and of everything that decides predictions")
    name: str = Field(description="As posted; need not be unique")
    kind: Literal["classification", "regression"] = Field(description="Of sets of classes, or of intervals")
    method: str = Field(description="Which calibration scores an item is compared with", examples=["split"])
    score: str = Field(description="Nonconformity score", examples=["thr"])
    inputs: str = Field(
        description="What predictions take: logits, probabilities, features or a band", examples=["logits"]
    )
    options: dict[str, Any] = Field(description="As posted, with the defaults")
    created_at: datetime = Field(description="When it was made, UTC")
    n: int = Field(description="Calibration items that were posted")
    effective_n: float = Field(description="Equal weights that say as much, (sum w)^2 / sum w^2; n without weights")
    classes: int | None = Field(description="Number of classes K; null for regression")
    class_labels: list[int] | list[str] | None = Field(
        default=None,
        description="What the classes are called, in the order of the columns: the posted class_names, or the labels "
        "of knn's training items. null: 0 to K - 1",
    )
    levels: list[LevelSummary] = Field(description="Each level over all cells")
    cells: list[CellSummary] = Field(
        description="What is compared with what: the first 100 cells; `/cells` of the calibration pages all of them"
    )
    cells_total: int = Field(default=0, description="Number of all cells")
    data_digest: str = Field(description="sha256 of the posted arrays; the arrays themselves are not kept")
    model: ModelIdentity | None = Field(description="Whose answers were calibrated; null: not stated")
    guarantee: str = Field(description="What holds, in words")
    warnings: list[str] = Field(description="What to know before it is used")


class CellList(Page):
    """One page of the cells of a calibration, in their order."""

    cells: list[CellSummary] = Field(description="From the one that was asked for on")
    cells_total: int = Field(description="Number of all cells")


class CalibrationList(Page):
    """One page of calibrations, newest first."""

    calibrations: list[CalibrationAnswer] = Field(description="Yours, newest first")
