"""Sample files of a service's capabilities, for the gateway, which shows them beside its documentation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from shared.capabilities.declaration import SampleFile
from shared.capabilities.references import load_reference
from shared.problems import NotFound

_KEPT = 32
"""Contents; they are a few hundred kilobytes each."""


def sample_router(files: Iterable[SampleFile]) -> APIRouter:
    """The route of these files, which are made when they are first asked for."""
    makers = {file.name: file.make for file in files}
    router = APIRouter(include_in_schema=False)

    @router.get("/samples/{name}")
    def sample(name: Annotated[str, Path()]) -> Response:
        """The content of a file."""
        if name not in makers:
            raise NotFound("There is no sample of this name.")
        return Response(_content(makers[name]), media_type="application/octet-stream")

    return router


@lru_cache(_KEPT)
def _content(maker: str) -> bytes:
    content: bytes = load_reference(maker)()
    return content
