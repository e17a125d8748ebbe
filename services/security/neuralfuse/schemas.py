"""What the routes of NeuralFuse take and give."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.security.bit_errors.faults import TEST_SEEDS, FaultKind, Layout
from services.security.neuralfuse.energy import CountSource
from services.security.neuralfuse.roles import TrainingFaults
from services.security.neuralfuse.voltages import HIGHEST, LOWEST
from shared.answers.representations import STORE_HELP, LinkedAnswer
from shared.http.route_parts import File
from shared.runtime.cards import ModelReference, Quality

MOST_PICTURES: Final = 16
"""In one request."""
MOST_SEEDS: Final = 32
MOST_CLASSES: Final = 1000
HIGHEST_RATE: Final = 0.5
DEFAULT_RATE: Final = 0.01

Seed = Annotated[int, Field(ge=0, lt=2**32 - 1)]

ENERGY_STATEMENT: Final = (
    "Arithmetic from constants that the paper publishes, no measurement: dynamic energy of reading weights alone, "
    "without activations, leakage and time. A negative saving is a loss."
)


class PredictionOptions(BaseModel):
    """What to ask, and how the memory fails."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None,
        description="A classifier of `/v1/models`, released or uploaded; unless given, the one that generators here "
        "were trained for",
    )
    generator: str | None = Field(
        default=None,
        description="A generator of GET /v1/security/neuralfuse/generators, of this model or of another one, or "
        "`none`; unless given, the largest of those that were trained for the model",
    )
    bit_error_rate: float | None = Field(
        default=None,
        ge=0,
        le=HIGHEST_RATE,
        allow_inf_nan=False,
        description="Share of memory cells that are faulty, 0.01 unless given; of stuck cells half hold the right "
        "value by chance",
        examples=[0.005],
    )
    voltage: float | None = Field(
        default=None,
        ge=LOWEST,
        le=HIGHEST,
        allow_inf_nan=False,
        description="In place of the rate: supply voltage of the weight memory over Vmin, the lowest without bit "
        "errors. By a model between two published points, no measurement",
        examples=[0.85],
    )
    fault: FaultKind = Field(
        default="stuck_at",
        description="`stuck_at`: a faulty cell reads as one value, drawn for it, as in the paper's code; `flip`: as "
        "the opposite of what was written",
    )
    layout: Layout = Field(
        default="tiled",
        description="`tiled`: weights share cells as in the paper's code; `iid`: each has its own. Both have the same "
        "mean, tiled spreads more between seeds",
    )
    seeds: list[Seed] = Field(
        default=[*TEST_SEEDS],
        min_length=1,
        max_length=MOST_SEEDS,
        description="Of the chips, each with faulty cells of its own; send the field again for each. Unless given, the "
        "ten of the paper's tests",
    )
    top: int = Field(
        default=3, ge=1, le=MOST_CLASSES, description="How many classes to name for each prediction, of those there are"
    )
    store: list[Literal["png"]] = Field(default=[], max_length=1, description=STORE_HELP)


class PredictionForm(PredictionOptions):
    """Multipart form of POST /v1/security/neuralfuse/predictions."""

    file: list[File] = Field(
        min_length=1,
        max_length=MOST_PICTURES,
        description="Pictures: PNG, JPEG or WebP; of one sign each, cut out, for classifiers of signs",
    )


class ClassProbability(BaseModel):
    """One class that a picture may show."""

    class_id: int = Field(ge=0, description="Number of the class, from 0", examples=[14])
    name: str = Field(description="Name of the class", examples=["stop"])
    probability: float = Field(ge=0, le=1, description="After temperature scaling", examples=[0.998])


class NominalPrediction(BaseModel):
    """Of one picture, without bit errors."""

    top: list[ClassProbability] = Field(description="Most probable first")


class ChipPrediction(BaseModel):
    """Of one picture, on one chip."""

    seed: int = Field(description="Of the chip's faulty cells", examples=[50_000])
    class_id: int = Field(ge=0, description="Most probable class there")
    name: str = Field(description="Name of the class")
    probability: float = Field(ge=0, le=1, description="Of that class")


class Vote(BaseModel):
    """The class that most chips name; of as many, the one with the higher mean probability."""

    class_id: int = Field(ge=0, description="Number of the class, from 0")
    name: str = Field(description="Name of the class")
    share: float = Field(ge=0, le=1, description="Of the chips that name it", examples=[0.7])


class LowVoltagePrediction(BaseModel):
    """Of one picture, over all chips."""

    top: list[ClassProbability] = Field(description="By the mean probability over the chips, highest first")
    vote: Vote = Field(description="What most chips say")
    agreement: float = Field(
        ge=0,
        le=1,
        description="Share of chips that name the class which the unprotected classifier names at nominal voltage",
    )
    seeds: list[ChipPrediction] = Field(description="One for each chip, in the order of the seeds")


class NominalPair(BaseModel):
    """At nominal voltage."""

    unprotected: NominalPrediction = Field(description="Of the picture as it is")
    protected: NominalPrediction | None = Field(description="Of the transformed picture; null without a generator")


class LowVoltagePair(BaseModel):
    """At low voltage; the generator runs at nominal voltage."""

    unprotected: LowVoltagePrediction = Field(description="Of the picture as it is")
    protected: LowVoltagePrediction | None = Field(description="Of the transformed picture; null without a generator")


class PicturePrediction(BaseModel):
    """The predictions of one picture."""

    index: int = Field(ge=0, description="Position of the file in the request")
    nominal: NominalPair = Field(description="Without bit errors")
    low_voltage: LowVoltagePair = Field(description="With the bit errors of each chip")


class FaultDescription(BaseModel):
    """How the weight memory failed."""

    kind: FaultKind = Field(description="What a faulty cell does")
    layout: Layout = Field(description="How cells belong to weights")
    bit_error_rate: float = Field(description="Share of faulty cells", examples=[0.01])
    voltage: float | None = Field(
        description="Supply voltage over Vmin that goes with it, by a model; null outside of its range",
        examples=[0.833],
    )
    flip_rate: float = Field(
        ge=0,
        le=1,
        description="Share of bits that were read otherwise than written, mean over the seeds",
        examples=[0.005],
    )
    weights: int = Field(ge=1, description="Eight-bit weights in the memory")
    quantised_here: bool = Field(
        description="Whether weights were rounded to eight bits for this; if so, nominal predictions may differ "
        "slightly from those of the model itself"
    )


class EnergyEstimate(BaseModel):
    """One way to count what a prediction costs."""

    source: CountSource = Field(description="Of the counts")
    base: float = Field(description="Weight accesses or multiply-accumulates of the classifier, for one picture")
    generator: float = Field(description="Those of the generator; 0 without one")
    generator_share: float = Field(description="Cost of the generator over that of the classifier at nominal voltage")
    saving_percent: float = Field(
        description="What low voltage with the generator saves, percent of the classifier at nominal voltage; negative "
        "where it costs more",
        examples=[17.0],
    )


class EnergyBlock(BaseModel):
    """Energy of the weight memory."""

    ratio: float | None = Field(
        description="Energy of a read at low voltage over that at Vmin; null where the rate has no voltage",
        examples=[0.694],
    )
    estimates: list[EnergyEstimate] = Field(
        description="By the paper's counts where it has these networks, else by those of the graphs; none without ratio"
    )
    statement: str = Field(default=ENERGY_STATEMENT, description="What these numbers are")


class TrainedFor(BaseModel):
    """What a generator was trained for."""

    base: str = Field(description="Name of the classifier")
    base_sha256: str = Field(description="Digest of the classifier's file")
    bit_error_rate: float = Field(description="Share of faulty cells", examples=[0.01])
    weight: float = Field(description="Lambda: weight of the loss with bit errors beside that without", examples=[5.0])
    faults: TrainingFaults = Field(description="The bit errors")


class UsedGenerator(BaseModel):
    """The generator that made the protected predictions."""

    model: ModelReference = Field(description="Which")
    architecture: str = Field(description="As the paper names it", examples=["UNetL"])
    trained_for: TrainedFor = Field(description="What it was trained for")
    transferred: bool = Field(
        description="Whether it was trained for another classifier than the one here (restricted access)"
    )


class PredictionAnswer(LinkedAnswer):
    """The predictions of every picture. Ask for image/png to see what the protected classifier sees."""

    predictions: list[PicturePrediction] = Field(description="One for each picture, in their order")
    faults: FaultDescription = Field(description="How the weight memory failed")
    energy: EnergyBlock = Field(description="What that saves, by arithmetic")
    generator: UsedGenerator | None = Field(description="Which generator protected; null: none did")
    model: ModelReference = Field(description="The classifier")
    caveats: list[str] = Field(description="What to keep in mind about this answer")


class GeneratorLinks(BaseModel):
    """Where to go on from a generator."""

    fused_model: str = Field(description="The generator and its classifier as one ONNX file")
    model: str = Field(description="The card of the model")


class GeneratorDescription(BaseModel):
    """A generator that pictures can pass."""

    name: str = Field(description="Name of the model")
    version: str = Field(description="Its version")
    weights_sha256: str = Field(description="Digest of its file")
    architecture: str = Field(description="As the paper names it", examples=["UNetL"])
    parameters: int | None = Field(description="Published count of its architecture; null where the paper has none")
    macs: float | None = Field(
        description="Published multiply-accumulates for a picture of 32x32; null where the paper has none"
    )
    trained_for: TrainedFor = Field(description="What it was trained for")
    base_released: bool = Field(description="Whether the classifier that it was trained for is here, of the same file")
    quality: list[Quality] = Field(description="What was measured of it, out of its card")
    energy: list[EnergyEstimate] = Field(description=f"With its classifier at 1 % faulty cells. {ENERGY_STATEMENT}")
    links: GeneratorLinks = Field(description="Where to go on")


class BaseDescription(BaseModel):
    """A classifier that generators here were trained for."""

    model: ModelReference = Field(description="Which")
    network: str = Field(description="Its network", examples=["vgg11"])


class GeneratorList(BaseModel):
    """All generators of this service."""

    generators: list[GeneratorDescription] = Field(description="By name")
    bases: list[BaseDescription] = Field(description="Classifiers that were released to be protected, by name")
