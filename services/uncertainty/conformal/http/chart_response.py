"""Charts as HTTP responses."""

from __future__ import annotations

from fastapi import Response

from shared.http.files import file_response
from shared.http.negotiation import PNG
from shared.imaging.charts import Plot, to_png, to_svg
from shared.telemetry.timing import timed


def chart_response(plot: Plot, media_type: str, *, name: str) -> Response:
    """Answer with a plot as image/png or image/svg+xml, as a file of a name."""
    with timed("post"):
        return file_response(to_png(plot) if media_type == PNG else to_svg(plot), media_type, name=name)
