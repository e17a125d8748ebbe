"""What the model says of a film becomes what the caller asked for: figures, an overlay, an array or a DICOM object.

Each is made of the same `Reading`, so that the numbers of all formats agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.medical.chest_xray.attention_facts import figures_of, region_of
from services.medical.chest_xray.drawing import ShownMap, draw_film, draw_overlay
from services.medical.chest_xray.inference import Reading
from services.medical.chest_xray.models import ChestModel
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.schemas import (
    ATTENTION_NOTICE,
    DISCLAIMER,
    AttentionRegion,
    AttentionSummary,
    ClassProbabilities,
    ConformalResult,
    DiagnosisAnswer,
    DiagnosisOptions,
    FilmDiagnosis,
    Peak,
    ScreeningResult,
)
from services.medical.chest_xray.screening import Screening
from shared.http.negotiation import DICOM, NPY, PNG
from shared.imaging.arrays import encode_npy
from shared.imaging.pictures import encode_png
from shared.problems import NotAcceptable

GENERAL_CAVEATS: Final = (
    "Classes are as mined from reports; `chf_like` is edema or cardiomegaly and no diagnosis of heart failure.",
    "Attention was learnt from boxes of radiologists and a simulated reader: it is no measured gaze.",
)
_PADDED: Final = "Pixels that the file calls padding are shown black and were left out of the film's exposure."
_PNG_LEVEL: Final = 3
_PREVIEW_SIDE: Final = 512
"""Longest side of a preview, in pixels."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A film that was read and screened.

    Attributes:
        reading: what the model says.
        screening: whether it looks like a frontal chest film.
        conformal: what a calibration says, where one was named.
    """

    reading: Reading
    screening: Screening
    conformal: ConformalResult | None = None

    @property
    def caveats(self) -> list[str]:
        """What to keep in mind about this film's answer."""
        found = [] if self.screening.passed else [self.screening.caveat]
        return [*found, _PADDED] if self.reading.film.valid is not None else found


def describe(judged: Sequence[Judged], model: ChestModel, options: DiagnosisOptions) -> DiagnosisAnswer:
    """The JSON answer."""
    return DiagnosisAnswer(
        films=[describe_film(one, index, options) for index, one in enumerate(judged)],
        model=model.reference,
        caveats=[*model.caveats, *GENERAL_CAVEATS],
    )


def describe_film(judged: Judged, index: int, options: DiagnosisOptions) -> FilmDiagnosis:
    """What is said of one film."""
    reading = judged.reading
    rows, columns = reading.film.shape
    return FilmDiagnosis(
        index=index,
        rows=rows,
        columns=columns,
        view=reading.film.view,
        probabilities=ClassProbabilities(**dict(zip(CLASSES, map(float, reading.probabilities), strict=True))),
        logits=list(map(float, reading.logits)),
        most_probable=CLASSES[reading.most_probable],
        opacity_probability=reading.opacity_probability,
        screening=_describe_screening(judged.screening),
        attention=_describe_attention(reading, options.region_share),
        conformal=judged.conformal,
        caveats=judged.caveats,
    )


def _describe_screening(screening: Screening) -> ScreeningResult:
    return ScreeningResult(
        score=screening.logit,
        threshold=screening.threshold,
        probability=screening.probability,
        passed=screening.passed,
        false_refusal_rate=screening.false_refusal_rate,
    )


def _describe_attention(reading: Reading, share: float) -> AttentionSummary:
    figures, region = figures_of(reading.attention), region_of(reading.attention, share)
    upper, middle, lower = figures.thirds
    row, column = figures.peak
    return AttentionSummary(
        peak=Peak(row=row, column=column, relative_density=figures.peak_density),
        left=figures.left,
        right=figures.right,
        upper=upper,
        middle=middle,
        lower=lower,
        spread=figures.spread,
        region=AttentionRegion(share=region.share, area=region.area, box=region.box),
    )


def notice_of(judged: Judged) -> str:
    """What whoever sees a file must know; ASCII."""
    return " ".join([DISCLAIMER, ATTENTION_NOTICE, *([] if judged.screening.passed else ["Not screened in."])])


def require_writable(judged: Judged, media_types: Sequence[str]) -> None:
    """Refuse DICOM for a film that did not come as DICOM.

    Raises:
        NotAcceptable: there is no object that an answer could refer to.
    """
    if DICOM in media_types and judged.reading.film.source is None:
        raise NotAcceptable(
            f"This film came as {judged.reading.film.media_type}, and a DICOM answer refers to the object that it was "
            "made of. Post the film as DICOM, or ask for image/png, application/x-npy or application/json."
        )


def encode(judged: Judged, media_type: str, model: ChestModel, options: DiagnosisOptions) -> bytes:
    """What is said of a film as a file.

    Args:
        judged: the film.
        media_type: image/png (an overlay), application/x-npy (the density of attention, float32) or
            application/dicom.
        model: that read it.
        options: which overlay, and which object.

    Raises:
        NotAcceptable: DICOM of a film that came as a picture.
        UnprocessableContent: the film has no UID to refer to.
    """
    if media_type == PNG:
        return encode_png(_draw(judged.reading, options), level=_PNG_LEVEL)
    if media_type == NPY:
        return encode_npy(judged.reading.attention)
    if media_type != DICOM:
        raise ValueError(f"cannot encode {media_type}")
    require_writable(judged, (DICOM,))
    return _encode_dicom(judged, model, options)


def preview(judged: Judged, options: DiagnosisOptions) -> bytes:
    """The overlay as a small PNG, for those who watch a job."""
    image = Image.fromarray(_draw(judged.reading, options))
    image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    return encode_png(np.asarray(image, dtype=np.uint8))


def _draw(reading: Reading, options: DiagnosisOptions) -> NDArray[np.uint8]:
    if options.overlay == "none":
        return draw_film(reading.film)
    if options.overlay == "attention":
        highest = float(reading.attention.max()) * reading.attention.size
        return draw_overlay(reading.film, ShownMap(reading.attention, "relative density (even = 1)", highest))
    label = CLASSES.index(options.evidence_class) if options.evidence_class else reading.most_probable
    shown = ShownMap(reading.evidence_map(label), f"evidence for {CLASSES[label]} (highest = 1)", 1.0)
    return draw_overlay(reading.film, shown)


def _encode_dicom(judged: Judged, model: ChestModel, options: DiagnosisOptions) -> bytes:
    from services.medical.chest_xray.dicom_writing import FilmObjects, ReportedFindings  # highdicom, a second

    reading = judged.reading
    assert reading.film.source is not None  # noqa: S101 - what is required before
    objects = FilmObjects.of(
        reading.film.source,
        reading.film.shape,
        model=model.reference,
        training_data=model.training_data,
        notice=notice_of(judged),
        deidentified=options.deidentified,
    )
    if options.dicom == "parametric-map":
        return objects.parametric_map(reading.attention)
    if options.dicom == "segmentation":
        return objects.segmentation(region_of(reading.attention, options.region_share))
    findings = ReportedFindings(
        probabilities=tuple(map(float, reading.probabilities)),
        opacity=reading.opacity_probability,
        screening=judged.screening.probability,
        caveats=(*judged.caveats, *GENERAL_CAVEATS),
    )
    return objects.report(findings)
