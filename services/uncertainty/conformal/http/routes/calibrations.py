"""Calibrations: made of posted values, read, listed, deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from services.uncertainty.conformal.application.calibration_entry import create_entry
from services.uncertainty.conformal.application.calibration_fit import fit_classification
from services.uncertainty.conformal.application.calibration_summaries import summarize_all_cells
from services.uncertainty.conformal.application.class_labels import CLASS_NAMES
from services.uncertainty.conformal.application.classification_items import ARRAYS
from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.application.fitted_calibration import FittedCalibration
from services.uncertainty.conformal.application.jobs import ModelCalibration, check_fleet_model
from services.uncertainty.conformal.application.labelled_images import choose_labels, read_images
from services.uncertainty.conformal.application.regression_fit import REGRESSION_ARRAYS, fit_regression
from services.uncertainty.conformal.capability import MODEL_CALIBRATION
from services.uncertainty.conformal.http.body_documentation import describe_request_body
from services.uncertainty.conformal.http.request_parsing import ParsedRequest, parse_request
from services.uncertainty.conformal.http.resources import ConformalState, Resources
from services.uncertainty.conformal.http.routes.common import (
    CREATED,
    LISTED,
    POSTING,
    PREFIX,
    READING,
    TAGS,
    CalibrationId,
)
from services.uncertainty.conformal.schemas.calibrations import (
    CalibrationAnswer,
    CalibrationList,
    CellList,
    ClassificationOptions,
    RegressionOptions,
)
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from shared.http.paging import link_next
from shared.http.route_parts import WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.jobs.identifiers import new_job_id
from shared.problems import Problem, field_problem
from shared.request_context import current_caller
from shared.service import Service, ServiceState
from shared.stores.owned_records import PAGE_LIMIT
from shared.telemetry.timing import timed

router = APIRouter(prefix=f"{PREFIX}/calibrations", tags=TAGS, route_class=UploadRoute)

IMAGES = "file"
DOCUMENTED_ARRAYS = {
    **ARRAYS,
    **REGRESSION_ARRAYS,
    IMAGES: "model: labelled images (PNG, JPEG, WebP), the field repeated, or a ZIP of them",
}
ALL_ARRAYS = {**ARRAYS, **REGRESSION_ARRAYS}


class _Kind(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kind: str = "classification"


@router.post(
    "",
    summary="Calibrate",
    status_code=201,
    response_model=CalibrationAnswer | JobView,
    responses={201: CREATED, **JOB_RESPONSES, **POSTING},
    openapi_extra=describe_request_body(
        ClassificationOptions,
        DOCUMENTED_ARRAYS,
        other=RegressionOptions,
        repeated=[IMAGES],
        example={
            "logits": [[2.1, 0.3, -1.0], [0.2, 1.9, 0.1], [-0.5, 0.4, 1.7], [1.2, 0.9, 0.1]],
            "labels": ["cat", "dog", "owl", "dog"],
            "class_names": ["cat", "dog", "owl"],
            "alpha": [0.25],
        },
    ),
)
async def calibrate(
    request: Request,
    service: Service,
    resources: Resources,
    response: Response,
    prefer: WaitPreference = None,
) -> Any:
    """Turn held-out answers of a model and the truth into thresholds that sets with a guarantee are made of.

    kind=classification takes logits or probabilities with labels; kind=regression takes predictions, quantiles, or
    predictions with difficulty, and targets. Post them as files of a form (NPY, CSV, Parquet) or as lists in JSON. The
    arrays are not kept, only sorted scores. The items must not have trained the model nor chosen the score's
    parameters.

    With `model` the classifier of the fleet is asked itself: post images as `file`, several or as ZIP, and their
    labels, or a ZIP with a folder for each label. That is a job; its result names the calibration.
    """
    del prefer  # documented here, read with all its repetitions below
    with timed("pre"):
        parsed = await parse_request(request, ALL_ARRAYS, limit=resources.settings.values_limit)
        options = parse_options(parsed)
    if isinstance(options, ClassificationOptions) and options.model is not None:
        return await _create_job(request, service, resources, parsed, options)
    fitted = await service.compute_pool.run(stoppable(_fit), parsed, options)
    entry = await anyio.to_thread.run_sync(
        lambda: create_entry(fitted, options, blobs=service.blobs, identifier=new_job_id(), owner=current_caller())
    )
    try:
        await resources.calibrations.add(entry.answer.id, entry.to_json(), owner=entry.owner)
    except Problem:
        await anyio.to_thread.run_sync(service.blobs.delete, entry.blob)
        raise
    response.headers["Location"] = calibration_path(entry.answer.id)
    return entry.answer


@router.get("", summary="List calibrations", responses=LISTED)
async def list_calibrations(
    response: Response,
    resources: Resources,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="Most calibrations on the page")] = 20,
) -> CalibrationList:
    """Your calibrations, newest first."""
    page = await resources.calibrations.read_page(owner=current_caller(), cursor=cursor, limit=limit)
    response.headers["Cache-Control"] = "private, no-cache"
    link_next(response, f"{PREFIX}/calibrations", {"limit": limit, "cursor": page.next_cursor})
    answers = [CalibrationEntry.from_json(record).answer for record in page.records]
    return CalibrationList(calibrations=answers, next_cursor=page.next_cursor)


@router.get("/{calibration_id}", summary="Read a calibration", responses=READING)
async def read_calibration(
    resources: Resources, calibration_id: CalibrationId, response: Response
) -> CalibrationAnswer:
    """What was calibrated, on how much, what it promises and how far that can be relied on."""
    answer = (await resources.read_entry(calibration_id)).answer
    response.headers["ETag"] = f'"{answer.version.removeprefix("sha256:")}"'
    response.headers["Cache-Control"] = "private, no-cache"
    return answer


@router.get("/{calibration_id}/cells", summary="Read the cells of a calibration", responses=READING)
async def read_cells(
    service: Service,
    resources: Resources,
    calibration_id: CalibrationId,
    response: Response,
    cursor: Annotated[int, Query(ge=0, lt=2**31, description="`next_cursor` of the page before: a cell's number")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most cells on the page")] = 100,
) -> CellList:
    """Thresholds of each class, group or cluster, a page of them."""
    entry = await resources.read_entry(calibration_id)
    calibration = await resources.load_calibration(entry, service.blobs)
    cells = await service.compute_pool.run(
        stoppable(summarize_all_cells), calibration, entry.options, entry.answer.class_labels
    )
    following = str(cursor + limit) if cursor + limit < len(cells) else None
    response.headers["Cache-Control"] = "private, no-cache"
    link_next(response, f"{calibration_path(calibration_id)}/cells", {"limit": limit, "cursor": following})
    return CellList(cells=cells[cursor : cursor + limit], cells_total=len(cells), next_cursor=following)


@router.delete("/{calibration_id}", summary="Delete a calibration", status_code=204, responses=READING)
async def delete_calibration(service: Service, resources: Resources, calibration_id: CalibrationId) -> None:
    """Forget a calibration and its scores. Monitors that were begun with it go on, and take scores then."""
    record = await resources.calibrations.delete(calibration_id, owner=current_caller())
    await anyio.to_thread.run_sync(service.blobs.delete, CalibrationEntry.from_json(record).blob)


def parse_options(parsed: ParsedRequest) -> ClassificationOptions | RegressionOptions:
    """Validate the options of either kind.

    Raises:
        UnprocessableContent: they do not fit.
    """
    if parsed.validate_options(_Kind).kind == "regression":
        return _without_foreign_defaults(parsed, RegressionOptions, ClassificationOptions).validate_options(
            RegressionOptions
        )
    return _without_foreign_defaults(parsed, ClassificationOptions, RegressionOptions).validate_options(
        ClassificationOptions
    )


def _without_foreign_defaults(parsed: ParsedRequest, own: type[BaseModel], other: type[BaseModel]) -> ParsedRequest:
    """Leave out options of the other kind that have their defaults: forms and examples send every field."""
    foreign = {name: one.default for name, one in other.model_fields.items() if name not in own.model_fields}

    def is_default(name: str, value: Any) -> bool:
        return name in foreign and (value == foreign[name] or str(value).lower() == str(foreign[name]).lower())

    kept = {name: value for name, value in parsed.options.items() if not is_default(name, value)}
    return replace(parsed, options=kept)


def calibration_path(identifier: str) -> str:
    """Path of a calibration: /v1/uncertainty/calibrations/ID."""
    return f"{PREFIX}/calibrations/{identifier}"


def _fit(parsed: ParsedRequest, options: ClassificationOptions | RegressionOptions) -> FittedCalibration:
    with timed("infer"):
        if isinstance(options, RegressionOptions):
            return fit_regression(parsed, options)
        return fit_classification(parsed, options)


async def _create_job(
    request: Request,
    service: ServiceState,
    resources: ConformalState,
    parsed: ParsedRequest,
    options: ClassificationOptions,
) -> Response:
    """Store the images and create the job that has the classifier answer for them.

    Raises:
        UnprocessableContent: there are no images, labels do not fit them, or there is no such classifier.
    """
    parsed.refuse_others((IMAGES, "labels", CLASS_NAMES))
    uploads = parsed.files.get(IMAGES, [])
    if not uploads:
        raise field_problem(f"/body/{IMAGES}", "Post labelled images for the classifier, or leave out `model`.")
    limit = resources.settings.upload_limit_bytes
    files = [await read_upload(file, limit=limit, pointer=f"/body/{IMAGES}/{n}") for n, file in enumerate(uploads)]

    def read() -> tuple[bytes, list[str], list[str] | None]:
        images, folders = read_images(files)
        labels = choose_labels(folders, parsed.read_texts("labels", count=len(images)))
        return images[0], labels, parsed.read_texts(CLASS_NAMES)

    first, labels, names = await service.compute_pool.run(read)
    await check_fleet_model(resources.fleet, options.model or "", first, labels, names)

    def arguments(digests: list[str]) -> ModelCalibration:
        return ModelCalibration(
            options=options,
            identifier=new_job_id(),
            owner=current_caller(),
            files=digests,
            labels=list(labels),
            class_names=names,
        )

    return await create_job_of_files(
        request, MODEL_CALIBRATION, files, arguments, jobs=service.jobs, blobs=service.blobs
    )
