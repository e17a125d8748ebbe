"""Evaluations of detectors over HTTP: each is a job."""

from __future__ import annotations

from typing import Annotated, Final, cast

from fastapi import APIRouter, Form, Request, Response

from services.perception.detection.annotations.pascal_voc import FirstPixel
from services.perception.detection.capability import EVALUATIONS, PATH
from services.perception.detection.detectors import Detectors
from services.perception.detection.evaluation_data import read_data
from services.perception.detection.evaluation_schemas import (
    POINTER,
    EvaluationForm,
    EvaluationTask,
    parse_class_mapping,
)
from services.perception.detection.settings import upload_limit_bytes
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.problems import NotFound, problem_responses
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=PATH, tags=["detection"], route_class=UploadRoute)

EvaluationForms = Annotated[EvaluationForm, Form(media_type="multipart/form-data")]

_PROBLEMS: Final = {**POST_PROBLEMS, **problem_responses(NotFound)}
_detectors = Detectors()


@router.post(
    "/evaluations",
    summary="Measure a detector on annotated pictures",
    status_code=202,
    response_model=JobView,
    responses={200: {"description": "The job ended while the caller waited"}, **JOB_RESPONSES, **_PROBLEMS},
)
async def evaluate_detector(
    request: Request, form: EvaluationForms, service: Service, prefer: WaitPreference = None
) -> Response:
    """Measure how well a detector finds what people have drawn boxes around, by the rules of COCO and of Pascal VOC.

    The annotations are read first, so that what is wrong with them is said at once, with file and line. The job then
    runs the detector on each picture. Its result has AP, AP50, AP75, AP by size, AR, figures of each class and what is
    found and missed at the thresholds of the detector's card; its files are the report, all detections as COCO's
    results, and a sheet of the pictures with the most misses.
    """
    del prefer  # documented here, read with all its repetitions by the job's answer
    detector = _detectors.find(service.models, form.model, form.version)
    mapping = parse_class_mapping(form.class_mapping) if form.class_mapping is not None else {}
    first_pixel = cast("FirstPixel", form.first_pixel)
    with timed("pre"):
        archive = await read_upload(form.file, limit=upload_limit_bytes(), pointer=POINTER)
    # In the pool for what is large in memory: headers of all pictures are inflated here.
    data = await service.compute_pool.run(
        read_data,
        archive,
        detector.role,
        annotation_format=form.wanted_format,
        first_pixel=first_pixel,
        class_mapping=mapping,
    )

    def arguments(digests: list[str]) -> EvaluationTask:
        return EvaluationTask(
            model=detector.reference,
            dataset=digests[0],
            annotation_format=data.imported.format,
            first_pixel=first_pixel,
            class_mapping=mapping,
        )

    return await create_job_of_files(request, EVALUATIONS, [archive], arguments, jobs=service.jobs, blobs=service.blobs)
