"""What the explanation routes take and give."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.uncertainty.explanation.inference import INTEGRATION_STEPS, LARGEST_BATCH
from services.uncertainty.explanation.methods import Method
from shared.answers.representations import STORE_HELP, LinkedAnswer
from shared.http.route_parts import File
from shared.runtime.cards import ModelReference

Rows = list[list[float]]


class ExplanationOptions(BaseModel):
    """How to explain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        default="traffic-signs",
        description="A classifier of GET /v1/uncertainty/explainers, released or uploaded",
    )
    method: list[Method] = Field(
        default=[Method.SRD],
        min_length=1,
        max_length=len(Method),
        description="How; send the field again for each method to compare",
    )
    target: int | None = Field(
        default=None, ge=0, description="Class to explain; the one that is predicted unless given", examples=[14]
    )
    layer: list[str] = Field(
        default=[],
        max_length=64,
        description="Layers whose relevance is wanted too, by name or by position from the input (0) to the last (-1); "
        "srd, srd-contrast and grad-cam have them",
    )
    activation_pattern: Literal["black", "grey", "white", "noise"] | None = Field(
        default=None,
        description="Also predict from the activation pattern alone: this picture runs through the network in place of "
        "the posted one, while every ReLU stays on or off as the posted one had it",
    )
    steps: int = Field(default=INTEGRATION_STEPS, ge=1, le=300, description="Of integrated gradients")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the method random, and of the pattern's noise")
    store: list[Literal["png", "npy"]] = Field(default=[], max_length=2, description=STORE_HELP)


class ExplanationForm(ExplanationOptions):
    """Multipart form of POST /v1/uncertainty/explanations."""

    file: list[File] = Field(min_length=1, max_length=LARGEST_BATCH, description="Pictures: PNG, JPEG or WebP")


class Score(BaseModel):
    """A class and what the model gives it."""

    class_id: int = Field(description="Number of the class, from 0", ge=0)
    name: str = Field(description="Name of the class", examples=["stop"])
    probability: float = Field(ge=0, le=1, description="After temperature scaling")
    logit: float = Field(description="Output of the network before the softmax")


class LayerRelevance(BaseModel):
    """Relevance of the feature vectors of one layer."""

    layer: str = Field(description="Name of the layer")
    relevance: Rows = Field(description="One number for each position of the layer, signed: rows of columns")
    total: float = Field(description="Sum over the layer's positions")


class RelevanceMap(BaseModel):
    """What one method says of one picture."""

    method: Method = Field(description="How relevance was found")
    relevance: Rows = Field(description="One number for each pixel that the network sees, signed")
    total: float = Field(description="Sum over all pixels")
    convergence_delta: float | None = Field(
        default=None,
        description="Of integrated gradients: total less the difference of the logit to that of a black picture. Far "
        "from 0, the map is not to be trusted: send more `steps`. Null for other methods",
    )
    positive_share: float | None = Field(description="Positive relevance over |relevance|; null for a map of zeros")
    gini: float = Field(description="0: spread evenly, towards 1: on one pixel")
    peak: tuple[int, int] = Field(description="Row and column of the most relevant pixel")
    layers: list[LayerRelevance] = Field(description="Relevance at the layers that were asked for", default=[])
    rank_correlation: dict[Method, float | None] = Field(
        default={}, description="With the maps of the other methods (Spearman)"
    )


class PatternPrediction(BaseModel):
    """What the network predicts from its activation pattern alone (APOP)."""

    substitute: str = Field(description="What ran through the network in place of the picture")
    predicted: Score = Field(description="The class that it is given")
    keeps_class: bool = Field(description="Whether it is the class that the posted picture itself is given")


class PictureExplanation(BaseModel):
    """What is said of one picture."""

    index: int = Field(ge=0, description="Position of the file in the request")
    predicted: Score = Field(description="The most probable class")
    explained: Score = Field(description="The class that the maps speak of")
    maps: list[RelevanceMap] = Field(description="One for each method")
    activation_pattern: PatternPrediction | None = Field(
        default=None, description="What the activation pattern alone is taken for; null: not asked for"
    )


class ExplanationAnswer(LinkedAnswer):
    """Ask for image/png to see the maps over the pictures, for application/x-npy to get float32
    (pictures, methods, height, width).
    """

    explanations: list[PictureExplanation] = Field(description="One for each picture, in their order")
    height: int = Field(description="Rows of the maps: the network's, not those of the posted picture")
    width: int = Field(description="Columns of the maps")
    model: ModelReference = Field(description="The classifier that is explained")
    caveats: list[str] = Field(description="What to keep in mind about this answer")


class MethodDescription(BaseModel):
    """A method that can be asked for."""

    method: Method = Field(description="Its name in requests")
    says: str = Field(description="What it does, in a sentence")
    source: str = Field(description="Publication")
    layers: bool = Field(description="Whether it answers at chosen layers too")


class LayerDescription(BaseModel):
    """A layer that relevance can be read at."""

    name: str = Field(description="Name of the layer")
    height: int = Field(description="Rows of its positions")
    width: int = Field(description="Columns of its positions")


class ExplainableModel(BaseModel):
    """A classifier that can be explained."""

    model: ModelReference = Field(description="Which classifier")
    height: int = Field(description="Rows of its input")
    width: int = Field(description="Columns of its input")
    layers: list[LayerDescription] = Field(description="Layers that relevance can be read at, from the input on")


class ExplainerList(BaseModel):
    """What can be explained, and how."""

    models: list[ExplainableModel] = Field(description="Classifiers that are at hand")
    on_demand: list[ModelReference] = Field(
        description="Models that can be named too, uploaded ones and large released ones; they are converted when they "
        "are first asked for, or refused with all that stands in the way"
    )
    methods: list[MethodDescription] = Field(description="Methods that can be asked for")


class ConversionForm(BaseModel):
    """Multipart form of POST /v1/uncertainty/explainers/conversions."""

    model_config = ConfigDict(extra="forbid")

    file: File = Field(description="A classifier: ONNX with its weights inside, fixed height and width")
    layer: list[str] = Field(
        default=[], max_length=64, description="Layers whose relevance is an output too; `*` for all"
    )
    activation_pattern: bool = Field(
        default=False, description="Add the input `substitute` and the output `pattern_logits`"
    )
