"""The way from one page of a list to the next (RFC 8288)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.responses import Response


def link_next(response: Response, path: str, query: Mapping[str, str | int | None]) -> None:
    """Put the address of the next page into the answer, if there is a next page.

    Args:
        response: of the list's route.
        path: of the list.
        query: parameters of the next page, its `cursor` among them; those that are None are left out, and without a
            cursor there is no next page.
    """
    if not query["cursor"]:
        return
    given = urlencode({name: value for name, value in query.items() if value is not None})
    response.headers["Link"] = f'<{path}?{given}>; rel="next"'
