"""The routes that streams and monitors share: begin, list, read as JSON or as a chart, delete.

Annotations are evaluated here, not postponed: FastAPI could not see the resource that the parameters are described by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from services.uncertainty.conformal.http.chart_response import chart_response
from services.uncertainty.conformal.http.resources import ConformalState, Resources
from services.uncertainty.conformal.http.routes.common import CREATED, LISTED, PREFIX, READING, RUNNING, TAGS
from shared.http.negotiation import JSON, PNG, SVG, accept_of, choose_media_type
from shared.http.paging import link_next
from shared.http.route_parts import BINARY
from shared.imaging.charts import Plot
from shared.jobs.identifiers import new_job_id
from shared.problems import NotAcceptable, problem_responses
from shared.request_context import current_caller
from shared.stores.owned_records import PAGE_LIMIT
from shared.stores.versioned_state import Document, RecordedEvent, VersionedState, VersionedStates

_CHART = {"content": {PNG: BINARY, SVG: {"schema": {"type": "string"}}}, "description": "As it is, or a chart"}


@dataclass(frozen=True, kw_only=True)
class StateResource:
    """A collection of versioned states that is served over HTTP.

    Attributes:
        name: singular noun, in paths, parameters and operations: stream.
        store: finds the states.
        describe: makes the answer of a state.
        draw_chart: draws the newest events of a state.
        answer: model of what `describe` returns.
        listing: model of a page; its fields are `{name}s` and `next_cursor`.
        chart: what a chart shows, for the documentation of Accept.
        reading: description of the route that reads one.
    """

    name: str
    store: Callable[[ConformalState], VersionedStates]
    describe: Callable[[VersionedState], BaseModel]
    draw_chart: Callable[[VersionedState, Sequence[RecordedEvent]], Plot]
    answer: type[BaseModel]
    listing: type[BaseModel]
    chart: str
    reading: str

    @property
    def path(self) -> str:
        """Of the collection: /v1/uncertainty/streams."""
        return f"{PREFIX}/{self.name}s"

    @property
    def parameter(self) -> Any:
        """Annotation of the path parameter, which is called `{name}_id`."""
        return Annotated[
            str,
            Path(
                alias=f"{self.name}_id",
                description=f"Id of the {self.name}, from the Location of the answer that began it",
                examples=["019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"],
            ),
        ]


async def begin_state(
    resource: StateResource, resources: ConformalState, response: Response, *, options: BaseModel, state: Document
) -> Any:
    """Create a state of the caller and describe it; Location and ETag go into the response.

    Raises:
        Conflict: the caller has as many as may be.
        ServiceUnavailable: Redis does not answer.
    """
    definition = {"options": options.model_dump(mode="json"), "created_at": datetime.now(UTC).isoformat()}
    created = await resource.store(resources).create(new_job_id(), definition, state, owner=current_caller())
    response.headers["Location"] = f"{resource.path}/{created.identifier}"
    response.headers["ETag"] = created.etag
    return resource.describe(created)


def create_state_router(
    resource: StateResource, begin: Callable[..., Any], *, route_class: type[APIRoute] = APIRoute
) -> APIRouter:
    """Make the router of a collection.

    Args:
        resource: what is served.
        begin: endpoint of POST on the collection, which calls `begin_state`.
        route_class: of all routes.
    """
    router = APIRouter(prefix=resource.path, tags=TAGS, route_class=route_class)
    router.post(
        "",
        summary=f"Begin a {resource.name}",
        status_code=201,
        response_model=resource.answer,
        responses={201: CREATED, **RUNNING},
    )(begin)
    _add_listing(router, resource)
    _add_reading(router, resource)
    _add_deletion(router, resource)
    return router


def _add_listing(router: APIRouter, resource: StateResource) -> None:
    @router.get(
        "",
        name=f"list_{resource.name}s",
        summary=f"List {resource.name}s",
        description=f"Your {resource.name}s, newest first.",
        response_model=resource.listing,
        responses=LISTED,
    )
    async def list_states(
        response: Response,
        resources: Resources,
        cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT, description=f"Most {resource.name}s on the page")] = 20,
    ) -> Any:
        states, next_cursor = await resource.store(resources).read_states(
            owner=current_caller(), cursor=cursor, limit=limit
        )
        response.headers["Cache-Control"] = "private, no-cache"
        link_next(response, resource.path, {"limit": limit, "cursor": next_cursor})
        return {f"{resource.name}s": [resource.describe(state) for state in states], "next_cursor": next_cursor}


def _add_reading(router: APIRouter, resource: StateResource) -> None:
    @router.get(
        f"/{{{resource.name}_id}}",
        name=f"read_{resource.name}",
        summary=f"Read a {resource.name}",
        description=resource.reading,
        response_model=resource.answer,
        responses={200: _CHART, **READING, **problem_responses(NotAcceptable)},
    )
    async def read_state(
        request: Request,
        response: Response,
        resources: Resources,
        identifier: resource.parameter,  # type: ignore[name-defined]
        accept: Annotated[
            str | None, Header(description=f"application/json; image/svg+xml, image/png: {resource.chart}")
        ] = None,
    ) -> Any:
        del accept  # documented here; several lines of it are one list
        media_type = choose_media_type(accept_of(request.headers), (JSON, SVG, PNG))
        store, owner = resource.store(resources), current_caller()
        state = await store.read(identifier, owner=owner)
        if media_type != JSON:
            events = await store.read_history(identifier, owner=owner)
            return chart_response(resource.draw_chart(state, events), media_type, name=resource.name)
        response.headers["ETag"] = state.etag
        response.headers["Cache-Control"] = "private, no-cache"
        return resource.describe(state)


def _add_deletion(router: APIRouter, resource: StateResource) -> None:
    @router.delete(
        f"/{{{resource.name}_id}}",
        name=f"delete_{resource.name}",
        summary=f"Delete a {resource.name}",
        description=f"Forget a {resource.name} with everything that it has seen.",
        status_code=204,
        responses=READING,
    )
    async def delete_state(resources: Resources, identifier: resource.parameter) -> None:  # type: ignore[name-defined]
        await resource.store(resources).delete(identifier, owner=current_caller())
