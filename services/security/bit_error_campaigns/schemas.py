"""What the routes of bit-error campaigns take and give."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.security.bit_errors.faults import TEST_SEEDS, FaultKind, Layout
from shared.http.route_parts import File, checked_by
from shared.jobs.files import StoredFile

AnalysisName = Literal["curve", "layers", "bits"]
Execution = Literal["auto", "session_per_network", "weights_as_inputs"]

ANALYSES: Final[tuple[AnalysisName, ...]] = ("curve", "layers", "bits")
FIRST_SEED: Final = TEST_SEEDS[0]
"""The first of the ten seeds that NeuralFuse's authors report."""

MOST_RATES: Final = 50
MOST_SEEDS: Final = 1000

_RATES: Final = "0.0001,0.0002,0.0005,0.001,0.002,0.005,0.01,0.02"
_LARGEST_SEED: Final = 2**32 - 2
_SEEDS: Final = re.compile(r"[0-9]{1,10}(-[0-9]{1,10})?")


def parse_rates(text: str) -> tuple[float, ...]:
    """Rates in ascending order out of a list with commas.

    Raises:
        ValueError: one is no share in (0, 1], or there are too many.
    """
    try:
        rates = {float(part) for part in text.split(",")}
    except ValueError:
        raise ValueError("Give numbers with commas between them, such as 0.001,0.01.") from None
    if not all(math.isfinite(rate) and 0 < rate <= 1 for rate in rates):
        raise ValueError("A bit error rate is a share of cells, above 0 and at most 1 (0.01 is 1 %).")
    if len(rates) > MOST_RATES:
        raise ValueError(f"There are {len(rates)} rates; at most {MOST_RATES} are accepted.")
    return tuple(sorted(rates))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds out of a count, or out of numbers and ranges with commas.

    Raises:
        ValueError: it is neither, or there are too many.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_SEEDS.fullmatch(part) for part in parts):
        raise ValueError("Give a number of seeds, such as 10, or seeds and ranges of them: 50000-50009,60000.")
    if len(parts) == 1 and "-" not in parts[0]:
        return _counted(int(parts[0]))
    seeds: dict[int, None] = {}
    for part in parts:
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low or high > _LARGEST_SEED:
            raise ValueError(f"{part} is no range of seeds from 0 to {_LARGEST_SEED}.")
        if high - low >= MOST_SEEDS:
            raise ValueError(f"{part} has more than {MOST_SEEDS} seeds.")
        seeds.update(dict.fromkeys(range(low, high + 1)))
    if len(seeds) > MOST_SEEDS:
        raise ValueError(f"There are {len(seeds)} seeds; at most {MOST_SEEDS} are accepted.")
    return tuple(seeds)


def _counted(count: int) -> tuple[int, ...]:
    if not 1 <= count <= MOST_SEEDS:
        raise ValueError(
            f"A single number says how many seeds, 1 to {MOST_SEEDS}. For one seed alone write {count}-{count}."
        )
    return tuple(range(FIRST_SEED, FIRST_SEED + count))


def parse_analyses(text: str) -> tuple[AnalysisName, ...]:
    """Names of analyses out of a list with commas.

    Raises:
        ValueError: one is unknown.
    """
    parts = {part.strip() for part in text.split(",")}
    if unknown := sorted(parts - set(ANALYSES)):
        raise ValueError(f"{unknown[0][:40]!r} is no analysis: give some of {', '.join(ANALYSES)}, with commas.")
    return tuple(name for name in ANALYSES if name in parts)


class CampaignOptions(BaseModel):
    """What a campaign varies; arguments of its job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    fault: FaultKind
    layout: Layout
    analyses: tuple[AnalysisName, ...]
    analysis_rate: float
    analysis_seeds: tuple[int, ...]
    images: int | None
    execution: Execution


class CampaignForm(BaseModel):
    """Multipart form of POST /v1/security/bit-error-campaigns, and of its estimates."""

    model_config = ConfigDict(extra="forbid")

    dataset: File = Field(
        description="ZIP of pictures (PNG, JPEG, WebP) in a folder for each class, named by its number or name; or "
        "beside a `labels.csv` with the columns file,label"
    )
    model: str | None = Field(
        default=None,
        max_length=64,
        description="Name of a model of the fleet, released or uploaded; or post a `file`",
        examples=["traffic-signs"],
    )
    version: str | None = Field(
        default=None, max_length=64, description="Version or alias of `model`; its default unless given"
    )
    file: File | None = Field(
        default=None, description="A classifier of your own: ONNX with its weights inside, in place of `model`"
    )
    parameters: str | None = Field(
        default=None,
        max_length=200_000,
        description="JSON object that says how a posted `file` takes pictures, by the names of model cards: `size` "
        "([height, width]), `channels`, `range`, `mean`, `std`, `classes`, `preprocessing`",
        examples=['{"range": [0, 1]}'],
    )
    rates: Annotated[str, checked_by(parse_rates)] = Field(
        default=_RATES, max_length=2000, description="Bit error rates of the curve: shares of faulty cells, with commas"
    )
    seeds: Annotated[str, checked_by(parse_seeds)] = Field(
        default="50000-50009",
        max_length=10_000,
        description="Chips of the curve: how many (from seed 50000 on), or seeds and ranges with commas",
    )
    fault: FaultKind = Field(
        default="stuck_at",
        description="`stuck_at`: a faulty cell reads as a value drawn for it, right by chance in half of all cases; "
        "`flip`: as the opposite of what was written",
    )
    layout: Layout = Field(
        default="tiled",
        description="`tiled`: one bank of cells, used from its start by every tensor (NeuralFuse's released code); "
        "`iid`: each bit of each weight has a cell of its own",
    )
    analyses: Annotated[str, checked_by(parse_analyses)] = Field(
        default=",".join(ANALYSES),
        max_length=100,
        description="`curve` (accuracy against rate), `layers` and `bits` (which are the most fragile), with commas",
    )
    analysis_rate: float = Field(
        default=0.01, gt=0, le=1, description="Bit error rate of the analyses of layers and bits"
    )
    analysis_seeds: Annotated[str, checked_by(parse_seeds)] = Field(
        default="3", max_length=10_000, description="Chips of the analyses of layers and bits, written as `seeds`"
    )
    images: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Most pictures to use, drawn from all; all unless given"
    )
    execution: Execution = Field(
        default="auto",
        description="How weights are exchanged: measured at the start (`auto`), or one of the two ways; their scores "
        "differ by rounding",
    )

    def options(self) -> CampaignOptions:
        """The options, parsed."""
        return CampaignOptions(
            rates=parse_rates(self.rates),
            seeds=parse_seeds(self.seeds),
            fault=self.fault,
            layout=self.layout,
            analyses=parse_analyses(self.analyses),
            analysis_rate=self.analysis_rate,
            analysis_seeds=parse_seeds(self.analysis_seeds),
            images=self.images,
            execution=self.execution,
        )


class ModelUsed(BaseModel):
    """Whose weights fail."""

    name: str = Field(description="Name of the model, or `posted`", examples=["traffic-signs"])
    version: str | None = Field(description="Its version; null: it was posted", examples=["1.0.0"])
    sha256: str = Field(description="Digest of its file, hexadecimal")


class ClassifierFacts(BaseModel):
    """What was found out of a model's graph."""

    model_config = ConfigDict(frozen=True)

    input: str = Field(description="Name of its input")
    output: str = Field(description="Name of its output with the scores")
    dtype: str = Field(description="Of the input's elements, as NumPy calls it")
    shape: list[int | str | None] = Field(description="Of the input; names and null stand for any size")
    classes: int = Field(description="That it tells apart")


class CampaignTask(BaseModel):
    """Arguments of the job."""

    options: CampaignOptions
    model: ModelUsed
    facts: ClassifierFacts
    dataset: str = Field(description="Digest of the archive")
    file: str | None = Field(description="Digest of a posted model; null: the model is of the fleet")
    parameters: dict[str, Any] | None = Field(description="How a posted model takes pictures")


class AnalysisCost(BaseModel):
    """Networks of one analysis."""

    analysis: str = Field(description="`baseline` is the model as given, and with stored weights without faults")
    networks: int = Field(description="Networks that are evaluated", ge=1)
    evaluations: int = Field(description="Networks times pictures", ge=1)


class TimingAnswer(BaseModel):
    """What the estimate is made of: one network, timed on this machine, on black pictures."""

    perturb_s: float = Field(description="Seconds to read a memory with faults")
    load_s: float = Field(description="Seconds to open a session on what was read")
    batch_s: float = Field(description="Seconds to classify a batch")
    batch: int = Field(description="Pictures of a batch")


class MemoryUsed(BaseModel):
    """The weight memory of a model."""

    weights: int = Field(description="Weights, each of which is a byte")
    layers: int = Field(description="Tensors that layers multiply by")
    bytes_of_graph: bool = Field(
        description="Whether the graph itself stores eight bits; else weights are quantised, symmetric per tensor"
    )
    computed_layers: list[str] = Field(
        description="Layers whose weights the graph computes; they are in no memory and never fail"
    )


class EstimateAnswer(BaseModel):
    """What a campaign would cost."""

    model: ModelUsed = Field(description="Whose weights would fail")
    memory: MemoryUsed = Field(description="What would fail")
    images: int = Field(description="Pictures that each network would classify")
    classes: int = Field(description="Classes that the model tells apart")
    networks: int = Field(description="Networks of all analyses")
    evaluations: int = Field(description="Networks times pictures")
    seconds: float = Field(description="Estimated, on one worker")
    analyses: list[AnalysisCost] = Field(description="Where networks come from")
    timing: TimingAnswer = Field(description="What the estimate of seconds is made of")
    evaluations_limit: int = Field(description="Most evaluations of a campaign")
    seconds_limit: float = Field(description="Most seconds of a campaign")
    accepted: bool = Field(description="Whether the campaign would be accepted")
    advice: str | None = Field(description="What to lower; null: nothing")


class ExecutionUsed(BaseModel):
    """How and how fast a campaign was computed; no part of the report, since it differs from run to run."""

    way: str = Field(description="How weights were exchanged")
    network_s: dict[str, float] = Field(description="Seconds of one network and its pictures, as measured, by way")
    evaluations_by_attempt: dict[str, int] = Field(description="Evaluations that each attempt of the job recorded")
    seconds: float = Field(description="Of all evaluations")
    evaluations_per_s: float = Field(description="Evaluations of a second")


class CampaignResult(BaseModel):
    """Result of the job."""

    report: dict[str, Any] = Field(description="The report, as in report.json")
    execution: ExecutionUsed = Field(description="How and how fast it was computed")
    files: dict[str, StoredFile] = Field(description="report.json, report.html, curve.png, layers.png, bits.png")

    def as_json(self) -> dict[str, Any]:
        """As jobs keep it."""
        return self.model_dump(mode="json")
