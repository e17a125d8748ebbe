"""Adaptation over HTTP: posted sets are looked through at once, and learned from in a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import anyio.to_thread
from fastapi import APIRouter, Form, Request, Response

from services.perception.detection.adaptation_schemas import AdaptationForm, AdaptationOptions, AdaptationTask
from services.perception.detection.annotations.common_classes import common_classes
from services.perception.detection.annotations.importing import LIMITS, import_pictures
from services.perception.detection.annotations.picture_files import PictureFiles
from services.perception.detection.capability import ADAPTATIONS
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.archive import Archive
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/perception/adaptations", tags=["detection"], route_class=UploadRoute)

AdaptationForms = Annotated[AdaptationForm, Form(media_type="multipart/form-data")]
_ZIP: Final = "application/zip"


@router.post(
    "",
    summary="Adapt a detector to a domain without labels",
    status_code=202,
    response_model=JobView,
    responses={200: {"description": "The job ended while the caller waited"}, **JOB_RESPONSES, **POST_PROBLEMS},
)
async def create_adaptation(
    request: Request, form: AdaptationForms, service: Service, prefer: WaitPreference = None
) -> Response:
    """Learn to find objects where nobody has labelled any: from labelled pictures of other domains, and plain ones.

    A teacher labels the pictures of the target, and classifiers of domains behind gradient reversal make features of
    all domains alike (ACIA). The job shows what it finds on the way, and ends with an ONNX detector and its card; with
    `register_model` it is served at once, as a version that `PUT /v1/models/{name}/aliases/default` promotes. Labels
    of the target are never learned from, even if they are in the archive.
    """
    del prefer  # documented here, read with all its repetitions by the job's answer
    with timed("pre"):
        sources = [await read_upload(one, pointer=f"/body/source/{number}") for number, one in enumerate(form.source)]
        target = await read_upload(form.target, pointer="/body/target")
        holdout = None if form.holdout is None else await read_upload(form.holdout, pointer="/body/holdout")
        await anyio.to_thread.run_sync(_look_through, sources, target, holdout)
    options = AdaptationOptions.model_validate({name: getattr(form, name) for name in AdaptationOptions.model_fields})

    def arguments(digests: list[str]) -> AdaptationTask:
        count = len(sources)
        return AdaptationTask(
            options=options,
            sources=digests[:count],
            target=digests[count],
            holdout=digests[count + 1] if holdout is not None else None,
        )

    contents = [*sources, target, *([holdout] if holdout is not None else [])]
    return await create_job_of_files(
        request,
        ADAPTATIONS,
        contents,
        arguments,
        jobs=service.jobs,
        blobs=service.blobs,
        types=[_ZIP] * len(contents),
    )


def _look_through(sources: Sequence[bytes], target: bytes, holdout: bytes | None) -> None:
    """Find now what would end the job.

    Raises:
        UnsupportedMediaType: a file is no ZIP.
        ContentTooLarge: one holds too much.
        UnprocessableContent: annotations are wrong, or sources have different classes.
    """
    sets = [import_pictures(data, pointer=f"/body/source/{number}").annotated for number, data in enumerate(sources)]
    classes = common_classes(sets, pointer="/body/source")
    for number, one in enumerate(sets):
        one.with_classes(classes, pointer=f"/body/source/{number}")
    PictureFiles(Archive(target, LIMITS, pointer="/body/target"), pointer="/body/target")
    if holdout is not None:
        import_pictures(holdout, pointer="/body/holdout").annotated.with_classes(classes, pointer="/body/holdout")
