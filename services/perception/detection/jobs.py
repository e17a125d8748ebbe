"""The job of an evaluation: picture after picture, with a checkpoint now and then, and then measures and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.perception.detection.annotations.model import AnnotatedPicture
from services.perception.detection.coco_metrics import LOWEST_SCORE
from services.perception.detection.drawing import draw_detections
from services.perception.detection.evaluation_data import EvaluationData, read_data
from services.perception.detection.evaluation_progress import FoundSoFar
from services.perception.detection.evaluation_schemas import (
    POINTER,
    EvaluationReport,
    EvaluationResult,
    EvaluationTask,
    WorstPicture,
)
from services.perception.detection.inference import read_picture
from services.perception.detection.operating_point import answers_among
from services.perception.detection.panels import fit, mosaic
from services.perception.detection.report import build_report
from services.perception.detection.writing import write_coco_results
from services.released import released_folders
from shared.detectors.detections import Detections
from shared.detectors.inference import SeenPicture, Selection, detect_blocking
from shared.detectors.models import Detector, read_detector
from shared.detectors.roles import DetectorRole
from shared.fleet.artifacts import model_artifact
from shared.http.negotiation import JSON, PNG
from shared.imaging.pictures import encode_png
from shared.imaging.sheets import Panel
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles
from shared.problems import Conflict, Problem
from shared.runtime.inspection.preparation import TrialLimits, prepare
from shared.runtime.inspection.verification import inspect
from shared.runtime.models.sessions import OnnxModel
from shared.settings import Settings, get_settings

CHECKPOINT_EVERY: Final = 25
"""Pictures between two checkpoints: what a lost worker costs."""

MOST_MEASURED: Final = 100
"""Of one picture, the surest."""

_SHOWN: Final = 40


def run_evaluation(context: JobContext) -> dict[str, Any]:
    """Measure a detector on annotated pictures, from where the last attempt was.

    Raises:
        Problem: the model is not there any more, or a picture cannot be decoded.
    """
    task, settings = EvaluationTask.model_validate(context.arguments), get_settings()
    detector = _open(task, settings)
    data = read_data(
        context.blobs.get(task.dataset),
        detector.role,
        annotation_format=task.annotation_format,
        first_pixel=task.first_pixel,
        class_mapping=task.class_mapping,
    )
    selection = measured(detector.role)
    found = _detect(context, data, detector, selection)
    sha256 = task.dataset.removeprefix("sha256:")
    report = build_report(found, data, detector, selection, sha256=sha256)
    context.raise_if_cancelled()
    files = JobFiles.of(context)
    content = orjson.dumps(report.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
    files.put("report.json", content, JSON)
    files.put("detections.json", write_coco_results(found, data.aligned.annotated), JSON)
    files.put("worst-pictures.png", _draw_worst(report, found, data, detector), PNG)
    return EvaluationResult(report=report, files=files.files).as_json()


def measured(role: DetectorRole) -> Selection:
    """What of a detector's output is measured: at least all that is answered with the thresholds of its card."""
    return Selection(min(LOWEST_SCORE, role.score_threshold), role.iou_threshold, max(MOST_MEASURED, role.limit))


def _open(task: EvaluationTask, settings: Settings) -> Detector:
    """The detector that was asked for, whose file is compared with its digest.

    Raises:
        NotFound: it is no longer there.
        Conflict: there is another file in its place.
        ServiceUnavailable: its file cannot be read.
    """
    wanted = task.model
    artifact = model_artifact(settings, released_folders(settings), wanted.name, wanted.version)
    if artifact.sha256 != wanted.weights_sha256:
        raise Conflict(f"{wanted.name} {wanted.version} is another file than when the evaluation was asked for.")
    content = artifact.read()
    prepared = prepare(content, inspect(content), TrialLimits.of(settings))
    return read_detector(OnnxModel(artifact.card, prepared, threads=settings.inference_threads))


def _detect(
    context: JobContext, data: EvaluationData, detector: Detector, selection: Selection
) -> dict[str, Detections]:
    names = list(data.aligned.annotated.pictures)
    so_far = FoundSoFar.of_bytes(context.restore())
    for index in range(len(so_far.pictures), len(names)):
        context.progress(index, len(names), f"picture {index + 1} of {len(names)}")
        try:
            so_far.pictures.append(detect_blocking(_read(data, names[index], detector), detector, selection))
        except Problem as problem:
            detail = f"The picture {names[index]!r}: {problem.detail}"
            raise type(problem)(detail, errors=problem.errors) from None
        if len(so_far.pictures) % CHECKPOINT_EVERY == 0:
            context.checkpoint(so_far.as_bytes())
    context.progress(len(names), len(names), "measuring")
    return dict(zip(names, so_far.pictures, strict=True))


def _read(data: EvaluationData, name: str, detector: Detector) -> SeenPicture:
    return read_picture(data.imported.read(name), detector, pixel_limit=get_settings().pixel_limit, pointer=POINTER)


def _draw_worst(
    report: EvaluationReport, found: Mapping[str, Detections], data: EvaluationData, detector: Detector
) -> bytes:
    """A PNG: each of the worst pictures twice, with what is there and with what was answered."""
    panels = []
    for one in report.worst_pictures:
        pixels = _read(data, one.name, detector).pixels
        picture = data.aligned.annotated.pictures[one.name]
        answers = answers_among(found[one.name], detector.role)
        names = detector.role.classes
        panels += [
            Panel(_drawn(pixels, _as_detections(picture), names, with_scores=False), _there(one)),
            Panel(_drawn(pixels, answers, names, with_scores=True), _answered(one, len(answers))),
        ]
    return encode_png(mosaic(panels, columns=2))


def _drawn(
    pixels: NDArray[np.uint8], detections: Detections, names: list[str], *, with_scores: bool
) -> NDArray[np.uint8]:
    shown = fit(pixels)
    sides = [shown.shape[1] / pixels.shape[1], shown.shape[0] / pixels.shape[0]]
    boxes = detections.boxes * np.array(sides * 2, np.float32)
    scaled = Detections(boxes, detections.scores, detections.labels)
    return draw_detections(shown, scaled, names, with_scores=with_scores)


def _as_detections(picture: AnnotatedPicture) -> Detections:
    return Detections(
        picture.boxes.astype(np.float32), np.ones(len(picture.labels), np.float32), picture.labels.astype(np.int64)
    )


def _there(picture: WorstPicture) -> str:
    return f"{picture.name[-_SHOWN:]}\nannotated: {picture.objects} to be found"


def _answered(picture: WorstPicture, answers: int) -> str:
    return f"answered: {answers}\n{picture.missed} missed, {picture.false} false"
