"""The one way to make a Facet application: problems, identity, metrics, health and OpenAPI are the same everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from shared.http.direct import DirectRoute, DirectRoutes
from shared.http.disconnect import DisconnectMiddleware
from shared.http.errors import install_problem_handlers
from shared.http.head import HeadAsGet
from shared.http.health import Check, health_router
from shared.http.middleware import Telemetry
from shared.http.route_checks import RouteChecks
from shared.http.uploads import BodyLimit
from shared.problems import ProblemDetails, UnprocessableContent, problem_responses
from shared.request_context import log_bindings
from shared.settings import DOMAINS, Settings
from shared.telemetry.lines import RequestLines
from shared.telemetry.logs import configure_logging
from shared.telemetry.metrics import CONTENT_TYPE, HttpMetrics
from shared.telemetry.tracing import traced_lifespan

VERSION = version("facet")

_READING = ("list", "follow")

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def operation_id(route: APIRoute) -> str:
    """What a route does to what, such as `jobs.list` or `ct.reconstructions.create`: generated clients read well.

    The resource is the path without version, domain and parameters; the verb is the first word of the function's name,
    as far as HTTP does not say it already: what is posted to a plural is created, what is read is got.
    """
    literals = [part for part in route.path_format.split("/") if part and not part.startswith("{")] or ["root"]
    if literals[0] == "v2":
        literals[0] = "protocol"
    elif literals[0] == "v1":
        literals = literals[2:] if literals[1] in DOMAINS else literals[1:]
    verb, methods = route.name.partition("_")[0], route.methods or ()
    if "GET" in methods and verb not in _READING:
        verb = "get"
    elif "POST" in methods and literals[-1].endswith("s"):
        verb = "create"
    return ".".join(literals if literals[-1] == verb else [*literals, verb])


class Application(FastAPI):
    """FastAPI with layers that are really the outermost: its own do nothing for requests that never get to it.

    Attributes:
        outer_layers: plain ASGI middleware, outermost first.
    """

    outer_layers: Sequence[Middleware] = ()

    def build_middleware_stack(self) -> ASGIApp:
        """Called once, at the first request."""
        stack = super().build_middleware_stack()
        for layer in reversed(self.outer_layers):
            stack = layer.cls(stack, *layer.args, **layer.kwargs)
        return stack


@asynccontextmanager
async def _no_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


def create_application(
    *,
    process: str,
    title: str,
    description: str,
    settings: Settings,
    routers: Sequence[APIRouter] = (),
    checks: Mapping[str, Check] | None = None,
    lifespan: Lifespan = _no_lifespan,
    own_openapi: bool = True,
    layers: Sequence[Middleware] = (),
    outermost: Sequence[Middleware] = (),
    direct: Sequence[DirectRoute] = (),
    body_limit: Callable[[str], int] | None = None,
    limit_bodies: bool = True,
    strict: Collection[str] = (),
) -> FastAPI:
    """Build an application.

    Args:
        process: name in logs and metrics, such as "gateway" or "medical".
        title: title of its OpenAPI document.
        description: what it is for, Markdown.
        settings: settings of the process; also found at `app.state.settings`.
        routers: its routes.
        checks: what readiness depends on.
        lifespan: opens what the routes need and closes it.
        own_openapi: serve FastAPI's document of this application at /openapi.json.
        layers: plain ASGI middleware around the routes, outermost first; identity and timing are outside of them, the
            limit of the body inside.
        outermost: further layers, outside of identity and timing.
        direct: busy routes that are answered without the framework.
        body_limit: most bytes of a body by the path of its request; the setting `upload_limit_bytes` unless given.
        limit_bodies: refuse bodies over the limit here; otherwise a layer does.
        strict: paths whose POST routes are held to the types and parameters that they document.
    """
    configure_logging(process, level=settings.log_level, bindings=log_bindings)
    app = Application(
        title=title,
        description=description,
        version=VERSION,
        lifespan=traced_lifespan(lifespan, process, settings),
        openapi_url="/openapi.json" if own_openapi else None,
        # FastAPI's own would send messages of exceptions, which may hold input, to any global OpenTelemetry provider.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        dependencies=[Depends(RouteChecks(strict))],
    )
    app.state.settings = settings
    metrics = HttpMetrics(process)
    app.state.metrics = metrics
    install_problem_handlers(app)
    app.include_router(health_router(checks or {}))
    app.include_router(_metrics_router(metrics))
    for router in routers:
        app.include_router(router)
    app.outer_layers = [
        *outermost,
        Middleware(Telemetry, metrics=metrics, behind_gateway=process != "gateway", lines=RequestLines(process)),
        *layers,
        *([Middleware(BodyLimit, limit=body_limit or settings.upload_limit_bytes)] if limit_bodies else []),
        Middleware(DisconnectMiddleware),
        Middleware(HeadAsGet),
        *([Middleware(DirectRoutes, routes=direct)] if direct else []),
    ]
    _document_problems(app)
    return app


def _metrics_router(metrics: HttpMetrics) -> APIRouter:
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def expose() -> Response:
        """The metrics of this process in Prometheus' text format; in a thread, as some are read from Redis."""
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return router


def _document_problems(app: FastAPI) -> None:
    """Put ProblemDetails into the OpenAPI components and drop FastAPI's own validation error."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, schema in {**problem.pop("$defs", {}), "ProblemDetails": problem}.items():
            schemas[name] = schema  # FastAPI writes the same a little differently, where a model of a route holds it
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        _replace_validation_answers(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _replace_validation_answers(document: dict[str, object]) -> None:
    """Routes that FastAPI documents with its own 422 body answer a problem instead."""
    paths = document.get("paths", {})
    if not isinstance(paths, dict):
        return
    for operations in paths.values():
        for operation in operations.values():
            answer = operation.get("responses", {}).get("422", {})
            if "HTTPValidationError" in str(answer):
                operation["responses"]["422"] = problem_responses(UnprocessableContent)[422]
