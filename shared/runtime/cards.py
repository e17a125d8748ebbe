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

    title: str = Field(description="Its title")
    authors: str = Field(description="Its authors, as the publication names them")
    url: str = Field(description="Where it can be read")


class TensorDescription(_Part):
    """One input or output of the ONNX graph."""

    name: str = Field(description="Name in the graph")
    dtype: str = Field(description="Type of the elements, as NumPy calls it", examples=["float32"])
    shape: list[int | str] = Field(
        description="Sizes; a name stands for any size", examples=[["batch", 1, "height", "width"]]
    )
    unit: str = Field(description="Unit of the values")
    range: tuple[float, float] | None = Field(default=None, description="Nominal lowest and highest value")
    description: str = Field(description="What it holds")


class Weights(_Part):
    """The released file."""

    file: str = Field(description="Name of the ONNX file beside the card")
    sha256: str = Field(
        description="Digest of the file; it is compared before the model is opened", pattern="^[0-9a-f]{64}$"
    )
    bytes: int = Field(description="Size of the file", gt=0)


class TrainingRecord(_Part):
    """How the weights came about."""

    data: list[str] = Field(description="Data sets that it was trained on")
    procedure: str = Field(description="How it was trained, in words")
    seed: int = Field(description="Seed of the random numbers")
    machine: str = Field(description="Machine that it was trained on")
    hours: float = Field(description="How long that took", ge=0)
    command: str = Field(description="Command that reproduces it")


class Baseline(_Part):
    """What a measured value is to be read beside."""

    name: str = Field(description="What the value is of")
    value: float = Field(description="Value of the baseline, in the unit of the metric")


class Quality(_Part):
    """One measured value."""

    metric: str = Field(description="What was measured")
    dataset: str = Field(description="Data that it was measured on")
    value: float = Field(description="The measured value")
    unit: str = Field(description="Unit of the value")
    interval: tuple[float, float] | None = Field(default=None, description="95 % interval, bootstrap")
    baseline: Baseline | None = Field(default=None, description="What the value is to be read beside; null: nothing")


class Parity(_Part):
    """How closely the exported graph follows the network that was trained."""

    reference: str = Field(description="What the exported graph was compared with")
    max_abs_difference: float = Field(description="Largest absolute difference of any output", ge=0)


class Latency(_Part):
    """Time of one forward pass."""

    what: str = Field(description="What was timed")
    value_ms: float = Field(description="Milliseconds", gt=0)
    machine: str = Field(description="Machine that it was timed on")
    threads: int = Field(description="Threads of the run", ge=1)


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

    name: str = Field(description="What the model is called", pattern=MODEL_NAME, max_length=LONGEST_NAME)
    version: str = Field(description="Semantic version of the model", pattern=MODEL_VERSION)
    task: str = Field(description="What it does", min_length=1)
    paper: Paper | None = Field(default=None, description="Publication that it implements; null: none is stated")
    licence: str = Field(description="Licence of the weights", min_length=1)
    inputs: list[TensorDescription] = Field(description="What it takes")
    outputs: list[TensorDescription] = Field(description="What it gives")
    weights: Weights = Field(description="The ONNX file")
    training: TrainingRecord | None = Field(default=None, description="How the weights came about; null: not stated")
    quality: list[Quality] = Field(default=[], description="What was measured of it")
    parity: Parity | None = Field(
        default=None, description="How closely the graph follows the trained network; null: not measured"
    )
    latency: Latency | None = Field(default=None, description="Time of one forward pass; null: not measured")
    limits: list[str] = Field(default=[], description="What to know before relying on it")
    choices: list[str] = Field(default=[], description="What the publication leaves open, and what was chosen")
    parameters: dict[str, JsonValue] = Field(
        description="What a capability needs to know of it, such as names of classes", default_factory=dict
    )
    runtime: RuntimeOptions = Field(
        default=RuntimeOptions(), description="How it is to be run, where the service's settings are not right for it"
    )


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

    name: str = Field(description="Name of the model", examples=["low-dose-ct"])
    version: str = Field(description="Version of the model", examples=["1.0.0"])
    weights_sha256: str = Field(description="Digest of its weights")


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
