"""What the route of evaluations takes, and what its job answers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.perception.detection.annotations.importing import AnnotationFormat
from services.perception.detection.annotations.pascal_voc import FirstPixel
from services.perception.detection.schemas import SelectionUsed
from shared.http.route_parts import File, checked_by
from shared.jobs.files import StoredFile
from shared.runtime.cards import ModelReference

POINTER: Final = "/body/file"
MAPPING_POINTER: Final = "/body/class_mapping"

ClassMapping = dict[str, str]
_MAPPING: Final[TypeAdapter[ClassMapping]] = TypeAdapter(ClassMapping)

_Share = Annotated[float, Field(ge=0, le=1)]
_Measure = _Share | None


def parse_class_mapping(text: str) -> ClassMapping:
    """Names of the detector's classes by names of the set's.

    Raises:
        ValueError: no JSON object of texts.
    """
    try:
        return _MAPPING.validate_python(orjson.loads(text), strict=True)
    except (orjson.JSONDecodeError, ValidationError):
        raise ValueError('Give a JSON object of names, such as {"car": "vehicle"}.') from None


class EvaluationForm(BaseModel):
    """Multipart form of POST /v1/perception/detections/evaluations."""

    model_config = ConfigDict(extra="forbid")

    file: File = Field(
        description="ZIP of pictures (PNG, JPEG, WebP) with boxes: one COCO file (.json), a Pascal VOC file (.xml) for "
        "each picture, or YOLO labels (.txt) with the names of their classes"
    )
    model: str | None = Field(
        default=None,
        max_length=64,
        description="A detector of `/v1/models`, released or uploaded; unless given the one that "
        "`/v1/perception/detections` asks",
    )
    version: str | None = Field(
        default=None, max_length=64, description="Version or alias of `model`; its default unless given"
    )
    annotation_format: Literal["auto", "coco", "pascal_voc", "yolo"] = Field(
        default="auto", description="To choose one where the archive holds several"
    )
    first_pixel: int = Field(
        default=1,
        ge=0,
        le=1,
        description="Number of a picture's first column and row in Pascal VOC files; their own tools write 1",
    )
    class_mapping: Annotated[str, checked_by(parse_class_mapping)] | None = Field(
        default=None,
        max_length=100_000,
        description="JSON object of the set's names of classes with the detector's, where they differ. Several may be "
        'one class of the detector: `{"car": "vehicle", "bus": "vehicle"}`',
    )

    @property
    def wanted_format(self) -> AnnotationFormat | None:
        """None for the one that the archive holds."""
        return None if self.annotation_format == "auto" else AnnotationFormat(self.annotation_format)


class EvaluationTask(BaseModel):
    """Arguments of the job."""

    model: ModelReference
    dataset: str = Field(description="Digest of the archive")
    annotation_format: AnnotationFormat
    first_pixel: FirstPixel
    class_mapping: ClassMapping


class DatasetUsed(BaseModel):
    """What was measured on."""

    sha256: str = Field(description="Of the archive")
    format: AnnotationFormat = Field(description="That its boxes are written in")
    pictures: int = Field(ge=1, description="Annotated ones, with and without objects")
    objects: int = Field(ge=0, description="Boxes of classes that the detector knows")
    unused_pictures: int = Field(ge=0, description="Pictures of the archive that the annotations do not mention")
    unused_labels: int = Field(ge=0, description="Label files of YOLO that belong to no picture")
    clipped_boxes: int = Field(ge=0, description="Boxes that reached beyond their picture, and were cut off")
    refused_boxes: int = Field(ge=0, description="Boxes that were left out, such as those without any area")
    faults: list[str] = Field(description="The first of these boxes: where they stand, and what is wrong")


class ClassesUsed(BaseModel):
    """Which class of the set is which of the detector."""

    used: dict[str, str] = Field(description="The detector's class by the set's")
    unknown: dict[str, int] = Field(description="Objects that were left out, by class, as the detector knows none such")
    unknown_share: _Share = Field(description="Of all objects, those that were left out for that")


class CocoFigures(BaseModel):
    """COCO's measures; null where nothing was there to be found."""

    ap: _Measure = Field(description="AP: mean over classes and over IoU thresholds 0.50 to 0.95")
    ap50: _Measure = Field(description="AP50: at an IoU of 0.50")
    ap75: _Measure = Field(description="AP75: at an IoU of 0.75")
    ap_small: _Measure = Field(description="AP of objects of less than 32 x 32 pixels")
    ap_medium: _Measure = Field(description="AP of objects between")
    ap_large: _Measure = Field(description="AP of objects of more than 96 x 96 pixels")
    ar_1: _Measure = Field(description="AR: recall over the same thresholds, of the best detection of each picture")
    ar_10: _Measure = Field(description="Of the best ten")
    ar_100: _Measure = Field(description="Of the best hundred")


class VocFigures(BaseModel):
    """Pascal VOC's measure of 2010 to 2012."""

    ap50: _Measure = Field(description="Mean over classes of the whole area under the curve, at an IoU of 0.50")


class ClassFigures(BaseModel):
    """How well one class is found."""

    name: str = Field(description="Of the detector's class")
    objects: int = Field(ge=0, description="Annotated ones, without crowds")
    pictures: int = Field(ge=0, description="That show one")
    ap: _Measure = Field(description="COCO's AP")
    ap50: _Measure = Field(description="COCO's AP50")
    voc_ap50: _Measure = Field(description="Pascal VOC's average precision at an IoU of 0.50")


class OperatingPoint(BaseModel):
    """What a caller gets who asks with the thresholds of the card."""

    score_threshold: _Share = Field(description="Least score of an answer, as in the card")
    found: int = Field(ge=0, description="Objects with a detection of their class and an IoU of 0.50 or more")
    missed: int = Field(ge=0, description="Objects without one")
    false: int = Field(ge=0, description="Detections of nothing, or of what a surer one found")
    precision: _Measure = Field(description="Found, of all detections that count")
    recall: _Measure = Field(description="Found, of all objects that are to be found")


class WorstPicture(BaseModel):
    """A picture on the sheet worst-pictures.png."""

    name: str = Field(description="In the archive")
    objects: int = Field(ge=0, description="To be found on it")
    missed: int = Field(ge=0, description="Of these, at the operating point")
    false: int = Field(ge=0, description="Detections of nothing")


class EvaluationReport(BaseModel):
    """What a detector is worth on a set; the same for the same request."""

    model: ModelReference = Field(description="The detector")
    dataset: DatasetUsed = Field(description="What was measured on")
    classes: ClassesUsed = Field(description="Which class is which")
    selection: SelectionUsed = Field(
        description="What was measured of the detector's output, but at the operating point"
    )
    coco: CocoFigures = Field(description="Over all classes that have objects, by COCO's rules")
    voc: VocFigures = Field(description="By Pascal VOC's rules")
    per_class: list[ClassFigures] = Field(description="All classes of the detector")
    operating_point: OperatingPoint = Field(description="At the thresholds of the card")
    worst_pictures: list[WorstPicture] = Field(description="Most missed first")
    caveats: list[str] = Field(description="What to keep in mind about these figures")


class EvaluationResult(BaseModel):
    """Result of the job."""

    report: EvaluationReport = Field(description="As in report.json")
    files: dict[str, StoredFile] = Field(description="report.json, detections.json, worst-pictures.png")

    def as_json(self) -> dict[str, Any]:
        """As jobs keep it."""
        return self.model_dump(mode="json")
