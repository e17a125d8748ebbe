"""What the classification route takes and gives."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shared.http.route_parts import File
from shared.runtime.cards import ModelReference

BATCH_LIMIT = 64
"""Most pictures in one request."""


MOST_CLASSES = 1000
"""Most classes that can be named for one picture."""


class ClassificationOptions(BaseModel):
    """How to classify."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        default="traffic-signs",
        description="A classifier of `/v1/models`, released or uploaded: one float32 input [batch, 3, height, width], "
        "one float32 output [batch, classes]",
    )
    top: int = Field(
        default=5, ge=1, le=MOST_CLASSES, description="How many classes to name for each picture, of those there are"
    )


class ClassificationForm(ClassificationOptions):
    """Multipart form of POST /v1/perception/classifications."""

    file: list[File] = Field(
        min_length=1,
        max_length=BATCH_LIMIT,
        description="Pictures: PNG, JPEG or WebP; of one sign each, cut out, for traffic-signs",
    )


class Guess(BaseModel):
    """One class that a picture may show."""

    class_id: int = Field(ge=0, description="Number of the class, from 0", examples=[14])
    name: str = Field(description="Name of the class", examples=["stop"])
    probability: float = Field(ge=0, le=1, description="After temperature scaling", examples=[0.998])
    logit: float = Field(description="Output of the network before temperature and softmax", examples=[17.2])


class Classification(BaseModel):
    """What one picture shows."""

    index: int = Field(ge=0, description="Position of the file in the request")
    top: list[Guess] = Field(description="Most probable first")


class ClassificationAnswer(BaseModel):
    """The classes of every picture. Ask for application/x-npy to get all probabilities, float32 (pictures, classes)."""

    classifications: list[Classification] = Field(description="One for each picture, in their order")
    temperature: float = Field(description="The logits are divided by it before the softmax (Guo et al. 2017)")
    model: ModelReference = Field(description="The classifier")
    caveats: list[str] = Field(description="What to keep in mind about this answer")
