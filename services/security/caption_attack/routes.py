"""Caption attacks over HTTP: ask what one costs, run it as a job, see which captioners elsewhere may be tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response

from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.capability import ATTACKS, ENDPOINTS_PATH, PATH
from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.caption_attack.pictures.posted_pictures import read_attacked_picture
from services.security.caption_attack.plan import cost_of
from services.security.caption_attack.schemas import (
    AttackCost,
    AttackForm,
    AttackTask,
    EndpointsAnswer,
    EndpointView,
)
from services.security.caption_attack.settings import CaptionAttackSettings
from services.security.caption_attack.targets import registered_endpoint
from shared.access.audit import AUDIT_NOTE_HEADER
from shared.http.route_parts import POST_PROBLEMS, WaitPreference
from shared.http.uploads import UploadRoute, read_upload
from shared.jobs.answers import JOB_RESPONSES, JobView
from shared.jobs.creation import create_job_of_files
from shared.problems import field_problem
from shared.service import Service, ServiceState
from shared.telemetry.timing import timed

router = APIRouter(tags=["caption attacks"], route_class=UploadRoute)

AttackForms = Annotated[AttackForm, Form(media_type="multipart/form-data")]

_NOTE_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request that was read."""

    options: AttackOptions
    files: list[bytes]
    endpoint: CaptionEndpoint | None
    cost: AttackCost


@router.post(
    PATH,
    summary="Attack captions",
    status_code=202,
    response_model=JobView,
    responses={200: {"description": "The job ended while the caller waited"}, **JOB_RESPONSES, **POST_PROBLEMS},
)
async def create_attack(
    request: Request, form: AttackForms, service: Service, prefer: WaitPreference = None
) -> Response:
    """Find pictures that look the same and are captioned differently, by asking the captioner alone (AICAttack).

    A few pixels are changed, at places where the captioner looks, and differential evolution searches for the changes
    that lose the most of the clean caption. Other searches get the same number of queries for comparison, filters are
    tried in front of the captioner, and the report says with intervals how often and how soon each search succeeded,
    and what to do about it. Tests are for owners: captioners of this fleet, or elsewhere those alone that its operator
    has registered with the owner's statement, which the audit log repeats.
    """
    del prefer  # documented here, read with all its repetitions by the job's answer
    planned = await _plan(form, service)
    if planned.cost.advice is not None:
        raise field_problem("/body/queries", planned.cost.advice)

    def arguments(digests: list[str]) -> AttackTask:
        return AttackTask(options=planned.options, pictures=digests, budget=planned.cost.budget)

    answer = await create_job_of_files(
        request, ATTACKS, planned.files, arguments, jobs=service.jobs, blobs=service.blobs
    )
    if planned.endpoint is not None:
        answer.headers[AUDIT_NOTE_HEADER] = quote(_note(planned.endpoint))
    return answer


@router.post(f"{PATH}/estimates", summary="Ask what an attack on captions costs", responses=POST_PROBLEMS)
async def estimate_attack(form: AttackForms, service: Service) -> AttackCost:
    """Say how many queries an attack takes at most, without asking the captioner anything."""
    return (await _plan(form, service)).cost


@router.get(ENDPOINTS_PATH, summary="List captioners elsewhere that may be tested")
async def list_endpoints() -> EndpointsAnswer:
    """Captioners that the operator has registered, with the statement of who owns them.

    There is no way to register one over HTTP: `FACET_CAPTION_ATTACK_ENDPOINTS` of the security service names them.
    """
    registered = sorted(CaptionAttackSettings().endpoints, key=lambda one: one.name)
    views = [EndpointView.model_validate(one, from_attributes=True) for one in registered]
    return EndpointsAnswer(endpoints=views)


async def _plan(form: AttackForm, service: ServiceState) -> _Planned:
    options, limits = form.options(), CaptionAttackSettings()
    endpoint = None if options.endpoint is None else registered_endpoint(options.endpoint, limits)
    with timed("pre"):
        files = [await read_upload(file, pointer=f"/body/file/{index}") for index, file in enumerate(form.file)]
        await service.compute_pool.run(_check, files, options.longest_side, service.settings.pixel_limit)
    return _Planned(options, files, endpoint, cost_of(options, limits, pictures=len(files), endpoint=endpoint))


def _check(files: list[bytes], longest_side: int, pixel_limit: int) -> None:
    """See that every picture can be read, before a job fails on it."""
    for index, data in enumerate(files):
        read_attacked_picture(data, longest_side=longest_side, pixel_limit=pixel_limit, pointer=f"/body/file/{index}")


def _note(endpoint: CaptionEndpoint) -> str:
    said = f"test of the captioner {endpoint.name}, owned by {endpoint.owner}: {endpoint.ownership}"
    return said[:_NOTE_LIMIT]
