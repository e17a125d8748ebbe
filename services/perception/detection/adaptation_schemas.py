"""What the route of adaptations takes, what its job gets, and what it answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.http.route_parts import File
from shared.jobs.files import StoredFile
from shared.runtime.cards import LONGEST_NAME, MODEL_NAME, MODEL_VERSION, ModelReference

Method = Literal["acia", "mean-teacher", "source-only"]
Figure = Annotated[float, Field(ge=0, le=1)]

SIMULATED = "Learned from the posted pictures alone: try it on pictures of your own that were not among them."
NO_HOLDOUT = (
    "No labelled pictures of the target were posted, so what adaptation gained there is not known: figures of the "
    "sources say only that nothing was lost on them."
)


class AdaptationOptions(BaseModel):
    """How to adapt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        default="adapted-detector", pattern=MODEL_NAME, max_length=LONGEST_NAME, description="What to call the detector"
    )
    version: str = Field(default="1.0.0", pattern=MODEL_VERSION, description="Its version")
    register_model: bool = Field(
        default=False,
        description="Serve it when it is done: a version of that name, beside others. Otherwise it is among the files "
        "of the job, with a card to post to /v1/models",
    )
    method: Method = Field(
        default="acia",
        description="`acia`: mean teacher with domain classifiers of images and, with two sources or more, of objects; "
        "`mean-teacher`: pseudo-labels alone; `source-only`: the target is not looked at",
    )
    backbone: Literal["imagenet", "scratch"] = Field(
        default="imagenet", description="EfficientNet-Lite0 with ImageNet's weights, or a small network from nothing"
    )
    short_side: int = Field(
        default=288, ge=96, le=640, description="Pixels of the short side to which larger pictures are scaled"
    )
    burn_in: int = Field(default=600, ge=10, le=20_000, description="Steps with labels alone")
    steps: int = Field(default=400, ge=1, le=20_000, description="Steps after them, with the target")
    batch: int = Field(default=2, ge=1, le=16, description="Pictures of each source in a step, and of the target")
    learning_rate: float = Field(
        default=1e-3, gt=0, le=0.1, allow_inf_nan=False, description="The highest one, of AdamW"
    )
    threshold: float = Field(
        default=0.7,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Score from which on the teacher's detections are labels",
    )
    unsure: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Score from which on what the teacher finds, where it is no label, is not learned as background "
        "either. As high as `threshold`: all that is no label is background, as in the paper",
    )
    decay: float = Field(
        default=0.995, ge=0, lt=1, allow_inf_nan=False, description="Share of the teacher that stays in a step"
    )
    image_weight: float = Field(
        default=0.02, ge=0, le=10, allow_inf_nan=False, description="acia: of the image-level domain loss"
    )
    instance_weight: float = Field(
        default=0.3, ge=0, le=10, allow_inf_nan=False, description="acia: of the instance-level domain loss"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Of order, views, samples and new weights")


class AdaptationForm(AdaptationOptions):
    """Multipart form of POST /v1/perception/adaptations."""

    source: list[File] = Field(
        min_length=1,
        max_length=4,
        description="Labelled pictures, one ZIP for each domain: COCO, Pascal VOC or YOLO. Classes are told by name",
    )
    target: File = Field(description="Pictures of the new domain, a ZIP without labels")
    holdout: File | None = Field(
        default=None,
        description="Labelled pictures of the new domain, a ZIP: nothing is learned from them; they show what "
        "adaptation gained",
    )


class AdaptationTask(BaseModel):
    """Arguments of the job."""

    options: AdaptationOptions
    sources: list[str] = Field(description="Digests of the labelled sets")
    target: str = Field(description="Digest of the pictures without labels")
    holdout: str | None = Field(default=None, description="Digest of the set that is measured with")


class ClassFigures(BaseModel):
    """How well one class is found."""

    name: str = Field(description="Of the class")
    objects: int = Field(description="Labelled ones")
    ap: Figure | None = Field(description="Mean over IoU 0.50 to 0.95; null without objects")
    ap50: Figure | None = Field(description="At IoU 0.50")


class SetFigures(BaseModel):
    """How well a set is found: COCO's average precision."""

    pictures: int = Field(description="Of the set")
    ap: Figure | None = Field(description="Mean over classes and IoU 0.50 to 0.95")
    ap50: Figure | None = Field(description="Mean over classes at IoU 0.50")
    ap75: Figure | None = Field(description="Mean over classes at IoU 0.75")
    classes: list[ClassFigures] = Field(description="Of each class")


class EpochFigures(BaseModel):
    """What was looked at on the way."""

    step: int = Field(description="Steps done")
    losses: dict[str, float] = Field(description="Means since the last line, by name")
    labels_per_picture: float = Field(description="Pseudo-labels of a target picture, on average")
    sources: SetFigures = Field(description="The teacher on pictures of the sources that are not learned from")


class AdaptationResult(BaseModel):
    """What came of an adaptation."""

    model: ModelReference = Field(description="The adapted detector")
    registered: bool = Field(description="Whether it is served")
    method: Method = Field(description="As asked for")
    classes: list[str] = Field(description="What it finds, in the order of its labels")
    pictures: dict[str, int] = Field(description="Learned from: of `source_1` and so on, and of `target`")
    epochs: list[EpochFigures] = Field(description="What was looked at on the way")
    before: SetFigures | None = Field(description="The detector after burn-in on `holdout`; null where none was posted")
    after: SetFigures | None = Field(description="The adapted one on `holdout`")
    parity: float = Field(description="Largest difference of scores between the network and its ONNX file")
    seconds: float = Field(description="Of all attempts")
    caveats: list[str] = Field(description="What to keep in mind about this detector")
    files: dict[str, StoredFile] = Field(
        description="detector.onnx and its card.json, before-after.png of target pictures, report.json"
    )
