"""Samples of all capabilities: examples in the document, and files and forms for the page, which fills them in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from gateway.documents.merging import Document
from gateway.state import GatewayState
from gateway.upstream.services import ServiceUnreadable
from shared.capabilities.collection import Capabilities
from shared.capabilities.declaration import Capability
from shared.problems import NotFound, ServiceUnavailable
from shared.request_context import public_path

_JSON = "application/json"
_TIMEOUT_S = 30.0
"""A sample may take seconds to be made when it is first asked for."""

router = APIRouter(prefix="/docs/samples", include_in_schema=False)


@router.get("")
async def index(request: Request) -> Response:
    """The samples of each path that is posted to: title, files with their addresses, form, JSON."""
    capabilities: Capabilities = request.app.state.capabilities
    found: dict[str, list[dict[str, Any]]] = {}
    for sample in capabilities.samples:
        found.setdefault(sample.path, []).append(
            {
                "title": sample.title,
                "files": {
                    field: {"name": file.name, "href": public_path(f"/docs/samples/{file.name}")}
                    for field, file in sample.files.items()
                },
                "form": dict(sample.form),
                "json": None if sample.json is None else dict(sample.json),
            }
        )
    return JSONResponse(found, headers={"Cache-Control": "no-cache"})


@router.get("/{name}")
async def file(request: Request, name: Annotated[str, Path()]) -> Response:
    """One file, made by the service that takes it."""
    capabilities: Capabilities = request.app.state.capabilities
    state: GatewayState = request.app.state.gateway
    domains = (
        one.domain for one in capabilities for sample in one.samples for it in sample.files.values() if it.name == name
    )
    domain = next(domains, None)
    if domain is None:
        raise NotFound("There is no sample of this name; /docs/samples lists them.")
    try:
        content = await state.upstreams.get(domain, f"/samples/{name}", timeout_s=_TIMEOUT_S)
    except ServiceUnreadable as failure:
        raise ServiceUnavailable(f"The service {domain}, which makes this sample: {failure}.") from None
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-cache"}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _names(capability: Capability) -> set[str]:
    return {file.name for sample in capability.samples for file in sample.files.values()}


def describe_samples(document: Document, capabilities: Capabilities) -> None:
    """Give the JSON bodies of a document the samples of their routes as examples, and put them before forms."""
    for sample in capabilities.samples:
        operation = document.get("paths", {}).get(sample.path, {}).get("post", {})
        content = operation.get("requestBody", {}).get("content", {})
        if sample.json is None or _JSON not in content:
            continue
        body = content.pop(_JSON)
        body.pop("example", None)
        body.setdefault("examples", {})[sample.title] = {"value": dict(sample.json)}
        operation["requestBody"]["content"] = {_JSON: body, **content}
