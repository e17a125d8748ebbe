"""What the chest X-ray route takes and gives."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.answers.representations import STORE_HELP, LinkedAnswer
from shared.http.route_parts import File
from shared.runtime.cards import ModelReference

DISCLAIMER: Final = "Research use only, not a medical device."
ATTENTION_NOTICE: Final = "Predicted attention, not measured gaze."
CALIBRATION_ID: Final = r"^[A-Za-z0-9-]{1,64}$"

ClassName = Literal["normal", "chf_like", "pneumonia"]
Overlay = Literal["attention", "evidence", "none"]
DicomKind = Literal["parametric-map", "segmentation", "report"]

Share = Annotated[float, AfterValidator(lambda value: round(value, 6))]
"""A share or a probability; further digits would be noise."""

Measured = Annotated[float, AfterValidator(lambda value: round(value, 4))]


class DiagnosisOptions(BaseModel):
    """How to read films, and what to answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None,
        max_length=64,
        description="A model of `/v1/models`, released or uploaded, whose card has `parameters.chest_xray`; unless "
        "given `chest-xray-attention`, or the first by name where that is not here",
    )
    screen: bool = Field(
        default=True,
        description="Refuse what the model takes for no frontal chest film, upright and with bones white (422). "
        "`false` has it read nevertheless, and the answer says so",
    )
    overlay: Overlay = Field(
        default="attention",
        description="Of a PNG answer: what is drawn over the film. `attention` is where the model predicts that a "
        "radiologist would look, `evidence` where it found what speaks for a class (Grad-CAM of its first encoder), "
        "`none` the film alone",
    )
    evidence_class: ClassName | None = Field(
        default=None, description="Whose evidence is drawn; that of the most probable class unless given"
    )
    dicom: DicomKind = Field(
        default="parametric-map",
        description="Of a DICOM answer, for films that came as DICOM: the attention as a Parametric Map, the region "
        "that holds most of it as a Segmentation, or the probabilities as a TID 1500 Enhanced SR",
    )
    region_share: float = Field(
        default=0.5,
        ge=0.05,
        le=0.95,
        allow_inf_nan=False,
        description="Share of the attention that the answered region, and a Segmentation, hold",
    )
    deidentified: bool = Field(
        default=False,
        description="Leave patient, dates and numbers of the study out of DICOM answers; UIDs that refer to the film "
        "stay",
    )
    calibration: str | None = Field(
        default=None,
        pattern=CALIBRATION_ID,
        description="Id of a calibration of POST /v1/uncertainty/calibrations, made of this model's logits with its "
        "digest as `model_sha256`: each film is then answered with sets of classes that hold the truth as often as "
        "asked",
    )
    alpha: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Miscoverage level of these sets; the levels of the calibration unless given",
    )
    store: list[Literal["png", "npy", "dicom"]] = Field(default=[], max_length=3, description=STORE_HELP)


class DiagnosisForm(DiagnosisOptions):
    """Multipart form of POST /v1/medical/chest-xray/diagnoses."""

    file: list[File] = Field(
        min_length=1,
        description="Frontal chest films: DICOM (CR, DX, DR), or grey PNG (8 or 16 bits) or JPEG with bones white. A "
        "few are answered together in JSON; more, a ZIP of them, or several in another format make a job",
    )


class ClassProbabilities(BaseModel):
    """Calibrated probabilities, 1 in sum."""

    normal: Share = Field(ge=0, le=1, description="No finding")
    chf_like: Share = Field(
        ge=0, le=1, description="Edema or cardiomegaly, signs that congestive heart failure would show"
    )
    pneumonia: Share = Field(ge=0, le=1, description="Pneumonia, as reports have it")


class ScreeningResult(BaseModel):
    """Whether this looks like a frontal chest film."""

    score: Measured = Field(description="Logit: larger looks more like one")
    threshold: Measured = Field(description="Least logit that passes, of the model's card")
    probability: Share = Field(ge=0, le=1, description="The logit as a number from 0 to 1")
    passed: bool = Field(description="Whether it passes; false only where `screen=false` was sent")
    false_refusal_rate: Share = Field(
        ge=0, le=1, description="Share of held-out frontal films that this threshold refuses, measured"
    )


class Peak(BaseModel):
    """The pixel of the highest predicted attention."""

    row: int = Field(ge=0, description="From 0, downwards, in pixels of the posted film")
    column: int = Field(ge=0, description="From 0, to the right")
    relative_density: Measured = Field(ge=0, description="Its density as a multiple of what an even one would have")


class AttentionRegion(BaseModel):
    """The smallest region that holds a share of the attention."""

    share: Share = Field(description="Of the attention that it holds, at least `region_share`")
    area: Share = Field(description="Of the film that it covers")
    box: tuple[int, int, int, int] = Field(
        description="Left, top, right and bottom edge of it in pixels of the posted film"
    )


class AttentionSummary(BaseModel):
    """Where the model predicts that a radiologist would look: a density over the film, in figures."""

    peak: Peak = Field(description="Where it is highest")
    left: Share = Field(description="Share in the left half of the picture: the patient's right, as films are hung")
    right: Share = Field(description="Share in its right half")
    upper: Share = Field(description="Share in its upper third")
    middle: Share = Field(description="Share in its middle third")
    lower: Share = Field(description="Share in its lower third")
    spread: Measured = Field(
        description="Entropy over that of an even density: 1 where all of the film would be looked at alike"
    )
    region: AttentionRegion = Field(description="The smallest region that holds `region_share` of it")
    notice: str = Field(default=ATTENTION_NOTICE, description="What it is, and what it is not")


class PredictionSet(BaseModel):
    """Classes that the truth is among, as often as asked."""

    alpha: float = Field(description="Miscoverage level")
    classes: list[ClassName] = Field(description="The set; none where the film is unlike those of the calibration")


class ConformalResult(BaseModel):
    """What a calibration says of a film."""

    calibration: str = Field(description="Id of it")
    version: str = Field(description="Its version: equal ones predict the same")
    sets: list[PredictionSet] = Field(description="One for each level")
    guarantee: str = Field(description="What holds, in words")
    warnings: list[str] = Field(description="What to know before it is used")


class FilmDiagnosis(BaseModel):
    """What the model says of one film."""

    index: int = Field(ge=0, description="Position of the film in the request")
    rows: int = Field(ge=1, description="Of the posted film, upright, in pixels")
    columns: int = Field(ge=1, description="Of it")
    view: str | None = Field(description="View position that the file states, such as PA or AP; null: it states none")
    probabilities: ClassProbabilities = Field(description="Of the three classes")
    logits: list[float] = Field(
        min_length=3,
        max_length=3,
        description="What the probabilities are the soft-max of, in their order; a calibration is made of these",
    )
    most_probable: ClassName = Field(description="The class of the highest probability")
    opacity_probability: Share = Field(ge=0, le=1, description="Calibrated probability of an opacity of the lung")
    screening: ScreeningResult = Field(description="Whether this looks like a frontal chest film")
    attention: AttentionSummary = Field(description="Predicted attention, not measured gaze")
    conformal: ConformalResult | None = Field(default=None, description="Present where `calibration` was given")
    caveats: list[str] = Field(description="What to keep in mind about this film's answer")


class DiagnosisAnswer(LinkedAnswer):
    """What the model says of films. Ask for image/png, application/x-npy or application/dicom to get the map."""

    films: list[FilmDiagnosis] = Field(description="One for each film, in their order")
    model: ModelReference = Field(description="The model")
    caveats: list[str] = Field(description="What to keep in mind about all of them")
    disclaimer: str = Field(default=DISCLAIMER, description="What it must not be used for")
