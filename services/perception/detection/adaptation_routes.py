"""Adaptation over HTTP: posted sets are looked through at once, and learned from in a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, Response

from services.perception.detection.adaptation_data import (
    HOLDOUT_POINTER,
    SOURCE_POINTER,
    TARGET_POINTER,
    read_data,
)
from services.perception.detection.adaptation_schemas import AdaptationForm, AdaptationOptions, AdaptationTask
from services.perception.detection.annotations.importing import LIMITS
from services.perception.detection.annotations.picture_files import PictureFiles
from services.perception.detection.capability import ADAPTATION_PATH, ADAPTATIONS
from services.perception.detection.settings import upload_limit_bytes
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.archive import Archive
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.service import Service
from shared.telemetry.timing import timed

router = APIRouter(prefix=ADAPTATION_PATH, tags=["detection"], route_class=UploadRoute)

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
        limit = upload_limit_bytes()
        sources = [
            await read_upload(one, limit=limit, pointer=f"{SOURCE_POINTER}/{at}") for at, one in enumerate(form.source)
        ]
        target = await read_upload(form.target, limit=limit, pointer=TARGET_POINTER)
        holdout = (
            None if form.holdout is None else await read_upload(form.holdout, limit=limit, pointer=HOLDOUT_POINTER)
        )
    # In the pool for what is large in memory: headers of all pictures are inflated here.
    await service.compute_pool.run(_look_through, sources, target, holdout)
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
    read_data(sources, holdout)
    PictureFiles(Archive(target, LIMITS, pointer=TARGET_POINTER), pointer=TARGET_POINTER)
