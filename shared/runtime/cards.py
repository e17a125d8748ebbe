"""The model card: what a released model is, what it was trained on, and what was measured of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

CARD_FILE = "card.json"

MODEL_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_-]|\.[A-Za-z0-9_-])*$"
"""Safe in paths, URLs, Redis' keys and labels: a letter or digit first, and no dot last or beside another."""

LONGEST_NAME = 64

MODEL_VERSION = r"^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$"
"""Three numbers without leading zeros (Semantic Versioning 2.0.0, item 2), so that none is written in two ways."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paper(_Part):
    """The publication a model implements."""

    title: str
    authors: str
    url: str


class TensorDescription(_Part):
    """One input or output of the ONNX graph."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: list[int | str] = Field(
        description="Sizes; a name stands for any size", examples=[["batch", 1, "height", "width"]]
    )
    unit: str
    range: tuple[float, float] | None = Field(default=None, description="Nominal lowest and highest value")
    description: str


class Weights(_Part):
    """The released file."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)


class TrainingRecord(_Part):
    """How the weights came about."""

    data: list[str]
    procedure: str
    seed: int
    machine: str
    hours: float = Field(ge=0)
    command: str


class Baseline(_Part):
    """What a measured value is to be read beside."""

    name: str
    value: float


class Quality(_Part):
    """One measured value."""

    metric: str
    dataset: str
    value: float
    unit: str
    interval: tuple[float, float] | None = Field(default=None, description="95 % interval, bootstrap")
    baseline: Baseline | None = None


class Parity(_Part):
    """How closely the exported graph follows the network that was trained."""

    reference: str
    max_abs_difference: float = Field(ge=0)


class Latency(_Part):
    """Time of one forward pass."""

    what: str
    value_ms: float = Field(gt=0)
    machine: str
    threads: int = Field(ge=1)


class RuntimeOptions(_Part):
    """How the model is to be run, where the service's settings are not right for it."""

    threads: int | None = Field(default=None, ge=1, description="Threads of one run")
    spinning: bool = Field(default=False, description="Threads wait busily: quicker alone, bad for its neighbours")
    arena: bool = Field(
        default=False, description="Keep the memory of the largest run; always where inputs have one size"
    )
    batch_rows: int | None = Field(default=None, ge=1, description="Most rows of one run")
    batch_elements: float | None = Field(default=None, gt=0, description="Most elements of all inputs of one run")
    coalesce: bool = Field(default=False, description="Compute equal requests that are under way once")
    kept_answers: int = Field(default=0, ge=0, description="Answers that are kept for equal requests to come")
    on_demand: bool = Field(
        default=False,
        description="Of a released model: its session is made when it is first asked for, not before its service is "
        "ready, so that it takes no memory where nobody asks",
    )


class UploadedCard(_Part):
    """What a model that a user brings must say of itself; what nobody measured may be left out."""

    name: str = Field(pattern=MODEL_NAME, max_length=LONGEST_NAME)
    version: str = Field(pattern=MODEL_VERSION)
    task: str = Field(min_length=1)
    paper: Paper | None = None
    licence: str = Field(min_length=1)
    inputs: list[TensorDescription]
    outputs: list[TensorDescription]
    weights: Weights
    training: TrainingRecord | None = None
    quality: list[Quality] = []
    parity: Parity | None = None
    latency: Latency | None = None
    limits: list[str] = []
    choices: list[str] = Field(default=[], description="What the publication leaves open, and what was chosen")
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    runtime: RuntimeOptions = RuntimeOptions()


class ModelCard(UploadedCard):
    """Everything a user should know before relying on a model; every field is needed of a released one."""

    paper: Paper
    training: TrainingRecord
    quality: list[Quality]
    parity: Parity
    latency: Latency
    limits: list[str]
    choices: list[str] = Field(description="What the publication leaves open, and what was chosen")


class ModelReference(_Part):
    """Which model gave an answer."""

    name: str = Field(examples=["low-dose-ct"])
    version: str = Field(examples=["1.0.0"])
    weights_sha256: str


class DigestMismatch(Exception):
    """The weights file is not the one that the card describes."""


def reference_of(card: UploadedCard) -> ModelReference:
    """The short form that every answer of a model carries."""
    return ModelReference(name=card.name, version=card.version, weights_sha256=card.weights.sha256)


def left_out(card: UploadedCard) -> list[str]:
    """What the card of a released model states, and this one does not."""
    return [name for name in ("paper", "training", "quality", "parity", "latency") if not getattr(card, name)]


def read_card(folder: Path) -> ModelCard:
    """Read and check the card of `folder`.

    Raises:
        FileNotFoundError: there is no card.
        pydantic.ValidationError: the card lacks something or holds something unknown.
    """
    return ModelCard.model_validate_json((folder / CARD_FILE).read_bytes())


def read_weights(folder: Path, card: ModelCard) -> bytes:
    """Read the weights file and compare it with its card.

    Raises:
        DigestMismatch: the file is missing or has another sha256.
    """
    path = folder / card.weights.file
    if not path.is_file():
        raise DigestMismatch(f"{card.name} {card.version}: {card.weights.file} is missing")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights.sha256:
        raise DigestMismatch(
            f"{card.name} {card.version}: {card.weights.file} has sha256 {found[:12]}..., "
            f"its card says {card.weights.sha256[:12]}..."
        )
    return content
