"""Bit-error campaigns over HTTP: ask what one costs, and run it as a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request, Response

from services.security.bit_error_campaigns.capability import CAMPAIGNS, PATH
from services.security.bit_error_campaigns.labelled_pictures import POINTER, read_labelled_pictures
from services.security.bit_error_campaigns.models import CampaignModel, CampaignModels
from services.security.bit_error_campaigns.outlines import Outline, facts_of
from services.security.bit_error_campaigns.picture_inputs import picture_input
from services.security.bit_error_campaigns.plan import Cost, CostLimits, cost_of, excess
from services.security.bit_error_campaigns.schemas import (
    AnalysisCost,
    CampaignForm,
    CampaignOptions,
    CampaignTask,
    EstimateAnswer,
    MemoryUsed,
    TimingAnswer,
)
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.problems import NotFound, field_problem, problem_responses
from shared.service import Service, ServiceState, state_of
from shared.telemetry.timing import timed

router = APIRouter(prefix=PATH, tags=["bit errors"], route_class=UploadRoute)

CampaignForms = Annotated[CampaignForm, Form(media_type="multipart/form-data")]
Models = Annotated[CampaignModels, Depends(state_of(CampaignModels))]

_PROBLEMS: Final = {**POST_PROBLEMS, **problem_responses(NotFound)}


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request that was read: what it is about, and what it costs."""

    options: CampaignOptions
    model: CampaignModel
    outline: Outline
    dataset: bytes
    posted: bytes | None
    cost: Cost
    limits: CostLimits


@router.post(
    "",
    summary="Run a bit-error campaign",
    status_code=202,
    response_model=JobView,
    responses={200: {"description": "The job ended while the caller waited"}, **JOB_RESPONSES, **_PROBLEMS},
)
async def create_campaign(
    request: Request, form: CampaignForms, service: Service, models: Models, prefer: WaitPreference = None
) -> Response:
    """Measure how much accuracy a classifier loses when cells of its weight memory fail.

    The weights of every convolution and matrix product are stored as bytes: quantised, or as a quantised graph has them
    already. Each seed is a chip whose faulty cells are drawn by it; the network that is read through them classifies
    the pictures. The result is accuracy against bit error rate with intervals over chips, and which layers and bit
    positions are the most fragile, as JSON, pictures and a page. What it costs is estimated first, and refused beyond
    the limits; `estimates` says it without running anything.
    """
    del prefer  # documented here, read with all its repetitions by the job's answer
    planned = await _plan(form, service, models)
    if (detail := excess(planned.cost, planned.limits)) is not None:
        raise field_problem("/body/images" if planned.options.images else "/body/dataset", detail)
    contents = [planned.dataset, *([planned.posted] if planned.posted is not None else [])]

    def arguments(digests: list[str]) -> CampaignTask:
        return CampaignTask(
            options=planned.options,
            model=planned.model.used,
            facts=facts_of(planned.outline),
            dataset=digests[0],
            file=digests[1] if planned.posted is not None else None,
            parameters=planned.model.parameters.model_dump(mode="json") if planned.posted is not None else None,
        )

    return await create_job_of_files(request, CAMPAIGNS, contents, arguments, jobs=service.jobs, blobs=service.blobs)


@router.post("/estimates", summary="Ask what a bit-error campaign costs", responses=_PROBLEMS)
async def estimate_campaign(form: CampaignForms, service: Service, models: Models) -> EstimateAnswer:
    """Say how many networks and evaluations a campaign is and about how long it takes, without running it.

    The model is opened in a process of its own and timed on a batch of black pictures, and the data set is read, so
    that what would be wrong with either is known too.
    """
    planned = await _plan(form, service, models)
    cost, outline = planned.cost, planned.outline
    advice = excess(cost, planned.limits)
    return EstimateAnswer(
        model=planned.model.used,
        memory=_memory(outline),
        images=cost.pictures,
        classes=outline.classes,
        networks=cost.all_networks,
        evaluations=cost.evaluations,
        seconds=round(cost.seconds, 1),
        analyses=[
            AnalysisCost(analysis=analysis, networks=count, evaluations=count * cost.pictures)
            for analysis, count in cost.networks.items()
        ],
        timing=TimingAnswer(**outline.timing.model_dump()),
        evaluations_limit=planned.limits.evaluations,
        seconds_limit=planned.limits.seconds,
        accepted=advice is None,
        advice=advice,
    )


async def _plan(form: CampaignForm, service: ServiceState, models: CampaignModels) -> _Planned:
    options, settings = form.options(), models.settings
    with timed("pre"):
        dataset = await read_upload(form.dataset, limit=settings.upload_limit_bytes, pointer=POINTER)
        posted = None
        if form.file is not None:
            posted = await read_upload(form.file, limit=service.settings.model_limit_bytes)
    model = await _model(form, posted, models)
    with timed("infer"):
        outline = await models.outline(model, kind=options.fault, layout=options.layout)
    taken = picture_input(outline.dtype, outline.shape, model.parameters)
    # In the pool for what is large in memory: an archive is inflated here, to see that each picture has a label.
    found = await service.compute_pool.run(_count_pictures, dataset, outline, model, settings.pictures_limit)
    count = found if options.images is None else min(found, options.images)
    size = taken.elements * taken.dtype.itemsize
    cost = cost_of(options, outline, pictures=count, picture_bytes=size)
    limits = CostLimits(
        evaluations=settings.evaluations_limit,
        networks=settings.networks_limit,
        seconds=settings.seconds_limit,
        picture_bytes=settings.pictures_bytes_limit,
    )
    return _Planned(options, model, outline, dataset, posted, cost, limits)


async def _model(form: CampaignForm, posted: bytes | None, models: CampaignModels) -> CampaignModel:
    if (form.model is None) == (posted is None):
        raise field_problem("/body/model", "Name a `model` of the fleet (GET /v1/models lists them), or post a `file`.")
    if posted is not None:
        if form.version is not None:
            raise field_problem("/body/version", "A posted file has no versions: leave it out.")
        return await models.take(posted, form.parameters)
    if form.parameters is not None:
        raise field_problem("/body/parameters", "The card of a model of the fleet says this: leave it out.")
    assert form.model is not None  # noqa: S101 - one of the two is given
    return await models.find(form.model, form.version)


def _count_pictures(dataset: bytes, outline: Outline, model: CampaignModel, most: int) -> int:
    """Pictures of an archive, each of which has a label that is a class of the model."""
    names = model.parameters.classes
    if names is not None and len(names) != outline.classes:
        field = "parameters/classes" if model.field == "file" else model.field
        raise field_problem(f"/body/{field}", f"There are {len(names)} names for {outline.classes} classes.")
    read = read_labelled_pictures(dataset, classes=outline.classes, names=names, pictures_limit=most)
    return len(read.entries)


def _memory(outline: Outline) -> MemoryUsed:
    return MemoryUsed(
        weights=sum(layer.weights for layer in outline.layers),
        layers=len(outline.layers),
        bytes_of_graph=all(layer.bytes_of_graph for layer in outline.layers),
        computed_layers=outline.computed_layers,
    )
