"""Swagger UI at /docs, from files of this folder: no other host is asked for anything."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

_STATIC = Path(__file__).parent / "static"

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI writes style attributes into its markup
        "img-src 'self' data: blob:",  # icons of its style sheet; images that were answered
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> Response:
    """The page; everything that it needs lies under /docs/static."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response((_STATIC / "docs.html").read_bytes(), media_type="text/html; charset=utf-8", headers=headers)


def static_files() -> Mount:
    """The route of the files beside the page."""
    return Mount("/docs/static", StaticFiles(directory=_STATIC), name="docs-static")
