"""What the detection route takes and gives."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.answers.representations import STORE_HELP, LinkedAnswer
from shared.detectors.roles import MOST_DETECTIONS
from shared.http.route_parts import File
from shared.runtime.cards import ModelReference

BATCH_LIMIT: Final = 64
"""Most pictures in one request."""

MOST_NAMED: Final = 100
"""Most names of classes in one request."""

Layout = Literal["facet", "coco"]

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Edges = Annotated[list[float], Field(min_length=4, max_length=4)]


class DetectionOptions(BaseModel):
    """How to detect."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None,
        max_length=64,
        description="A detector of `/v1/models`, released or uploaded: a model whose card has `parameters.detection`; "
        "unless given `vehicle-detector`, or the first by name where that is not here",
    )
    score_threshold: _Share | None = Field(
        default=None, description="Least score of an answer; that of the model's card unless given"
    )
    iou_threshold: _Share | None = Field(
        default=None,
        description="Intersection over union above which the less sure of two boxes of a class goes; that of the "
        "model's card unless given",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=MOST_DETECTIONS,
        description="Most detections of a picture, the surest; that of the model's card unless given",
    )
    classes: list[str] = Field(
        default=[],
        max_length=MOST_NAMED,
        description="Names of the classes that are wanted; all unless given. Send the field again for each",
    )
    layout: Layout = Field(
        default="facet", description="Of a JSON answer: `facet`, or `coco` for a document as COCO's tools read it"
    )
    store: list[Literal["png"]] = Field(default=[], max_length=1, description=STORE_HELP)


class DetectionForm(DetectionOptions):
    """Multipart form of POST /v1/perception/detections."""

    file: list[File] = Field(
        min_length=1, max_length=BATCH_LIMIT, description="Pictures: PNG, JPEG or WebP, of any size"
    )


class Detection(BaseModel):
    """One object."""

    box: _Edges = Field(
        description="Left, top, right and bottom edge in pixels of the posted picture, upright; a box over the whole "
        "picture is [0, 0, width, height]",
        examples=[[12.5, 40.0, 96.0, 88.25]],
    )
    class_id: int = Field(ge=0, description="Number of the class, from 0")
    class_name: str = Field(description="Name of the class", examples=["vehicle"])
    score: float = Field(ge=0, le=1, description="Larger is surer; no probability", examples=[0.91])


class DetectedPicture(BaseModel):
    """The objects on one picture."""

    index: int = Field(ge=0, description="Position of the file in the request")
    width: int = Field(ge=1, description="Of the posted picture, upright, in pixels")
    height: int = Field(ge=1, description="Of it")
    detections: list[Detection] = Field(description="The surest first")


class SelectionUsed(BaseModel):
    """What was answered of all that the detector found."""

    score_threshold: float = Field(description="Least score of an answer")
    iou_threshold: float = Field(description="Overlap above which the less sure of two boxes of a class went")
    limit: int = Field(description="Most detections of a picture")


class DetectionAnswer(LinkedAnswer):
    """The objects on every picture."""

    pictures: list[DetectedPicture] = Field(description="One for each picture, in their order")
    selection: SelectionUsed = Field(description="What of the detector's output is answered")
    model: ModelReference = Field(description="The detector")
    caveats: list[str] = Field(description="What to keep in mind about this answer")


class CocoInfo(BaseModel):
    """How the document was made."""

    description: str = Field(description="What it is")
    selection: SelectionUsed = Field(description="What of the detector's output is answered")
    model: ModelReference = Field(description="The detector")
    caveats: list[str] = Field(description="What to keep in mind about this answer")


class CocoImage(BaseModel):
    """A picture, as COCO has it."""

    id: int = Field(ge=1, description="Position of the file in the request, from 1")
    width: int = Field(ge=1, description="Of the posted picture, upright, in pixels")
    height: int = Field(ge=1, description="Of it")


class CocoAnnotation(BaseModel):
    """An object, as COCO has it."""

    id: int = Field(ge=1, description="From 1")
    image_id: int = Field(ge=1, description="Of the picture")
    category_id: int = Field(description="Of the class")
    bbox: _Edges = Field(description="Left and upper edge, width and height in pixels of the posted picture")
    area: float = Field(ge=0, description="Of the box, in square pixels")
    iscrowd: Literal[0] = Field(default=0, description="It stands for one object")
    score: float = Field(ge=0, le=1, description="Larger is surer; no probability")


class CocoCategory(BaseModel):
    """A class, as COCO has it."""

    id: int = Field(description="From 1 in the detector's order, unless its card has other numbers")
    name: str = Field(description="Name of the class")


class CocoAnswer(LinkedAnswer):
    """The same as a document of COCO; `annotations` alone is COCO's list of results."""

    info: CocoInfo = Field(description="How it was made")
    images: list[CocoImage] = Field(description="One for each picture, in their order")
    annotations: list[CocoAnnotation] = Field(description="Of all pictures, those of a picture surest first")
    categories: list[CocoCategory] = Field(description="All classes of the detector")
