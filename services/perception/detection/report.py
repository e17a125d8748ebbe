"""The report of an evaluation: all measures, and the pictures that the detector does worst on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from services.perception.detection.annotations.model import AnnotatedSet, BoxFault
from services.perception.detection.coco_metrics import CocoMetrics, measure_coco
from services.perception.detection.evaluation_data import EvaluationData
from services.perception.detection.evaluation_schemas import (
    ClassesUsed,
    ClassFigures,
    CocoFigures,
    DatasetUsed,
    EvaluationReport,
    OperatingPoint,
    VocFigures,
    WorstPicture,
)
from services.perception.detection.operating_point import Matches, answers_among, match_pictures, total
from services.perception.detection.schemas import SelectionUsed
from services.perception.detection.voc_metrics import VocPrecision, measure_voc
from shared.detectors.detections import Detections
from shared.detectors.inference import Selection
from shared.detectors.models import Detector

WORST: Final = 6
"""Pictures that are shown."""

_FAULTS: Final = 20
_UNKNOWN: Final = (
    "Objects of classes that the detector does not know were left out. What it answers where they are counts as false."
)
_DIFFICULT: Final = (
    "COCO knows no difficult objects: they count there. Pascal VOC's measure and the operating point pass over them."
)


def build_report(
    found: Mapping[str, Detections], data: EvaluationData, detector: Detector, selection: Selection, *, sha256: str
) -> EvaluationReport:
    """Measure what was found.

    Args:
        found: by name of the picture, with the detector's labels; all that `selection` lets through.
        data: what is to be found.
        detector: that found it.
        selection: see `found`.
        sha256: of the archive.
    """
    annotated = data.aligned.annotated
    coco, voc = measure_coco(found, annotated), measure_voc(found, annotated)
    answers = {name: answers_among(one, detector.role) for name, one in found.items()}
    matches = match_pictures(answers, annotated)
    return EvaluationReport(
        model=detector.reference,
        dataset=_dataset(data, sha256),
        classes=ClassesUsed(
            used=dict(data.aligned.used),
            unknown=dict(data.aligned.unknown),
            unknown_share=round(data.aligned.unknown_share, 6),
        ),
        selection=SelectionUsed(
            score_threshold=selection.score_threshold, iou_threshold=selection.iou_threshold, limit=selection.limit
        ),
        coco=_coco(coco),
        voc=VocFigures(ap50=voc.mean),
        per_class=_per_class(coco, voc, annotated),
        operating_point=_operating_point(total(matches.values()), detector.role.score_threshold),
        worst_pictures=_worst(matches),
        caveats=[*detector.caveats, *_caveats(data)],
    )


def _dataset(data: EvaluationData, sha256: str) -> DatasetUsed:
    imported, annotated = data.imported, data.aligned.annotated
    faults = imported.annotated.faults
    return DatasetUsed(
        sha256=sha256,
        format=imported.format,
        pictures=len(annotated.pictures),
        objects=annotated.box_count,
        unused_pictures=imported.unused_pictures,
        unused_labels=imported.unused_labels,
        clipped_boxes=faults.clipped,
        refused_boxes=faults.refused,
        faults=[_described(fault) for fault in faults.shown[:_FAULTS]],
    )


def _described(fault: BoxFault) -> str:
    return f"{fault.place}: {fault.detail} ({fault.outcome})"


def _coco(metrics: CocoMetrics) -> CocoFigures:
    return CocoFigures(
        ap=metrics.ap,
        ap50=metrics.ap50,
        ap75=metrics.ap75,
        ap_small=metrics.ap_small,
        ap_medium=metrics.ap_medium,
        ap_large=metrics.ap_large,
        ar_1=metrics.ar1,
        ar_10=metrics.ar10,
        ar_100=metrics.ar100,
    )


def _per_class(coco: CocoMetrics, voc: VocPrecision, annotated: AnnotatedSet) -> list[ClassFigures]:
    pictures = np.zeros(len(annotated.class_names), np.int64)
    for picture in annotated.pictures.values():
        pictures[np.unique(picture.labels)] += 1
    return [
        ClassFigures(name=one.name, objects=one.objects, pictures=shown, ap=one.ap, ap50=one.ap50, voc_ap50=precision)
        for one, shown, precision in zip(coco.classes, pictures.tolist(), voc.classes, strict=True)
    ]


def _operating_point(matches: Matches, score_threshold: float) -> OperatingPoint:
    return OperatingPoint(
        score_threshold=score_threshold,
        found=matches.found,
        missed=matches.missed,
        false=matches.false,
        precision=matches.precision,
        recall=matches.recall,
    )


def _worst(matches: Mapping[str, Matches]) -> list[WorstPicture]:
    """Most missed first; of as many, the one with more false answers, and then the earlier one."""
    ranked = sorted(matches.items(), key=lambda one: (-one[1].missed, -one[1].false))
    return [
        WorstPicture(name=name, objects=one.objects, missed=one.missed, false=one.false) for name, one in ranked[:WORST]
    ]


def _caveats(data: EvaluationData) -> list[str]:
    difficult = any(picture.difficult.any() for picture in data.aligned.annotated.pictures.values())
    return [*([_UNKNOWN] if data.aligned.unknown else []), *([_DIFFICULT] if difficult else [])]
