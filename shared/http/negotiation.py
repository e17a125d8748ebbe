"""The Accept header (RFC 9110, section 12.5.1): one route answers JSON, a picture, a raw array or DICOM."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers

from shared.problems import NotAcceptable

JSON = "application/json"
PNG = "image/png"
SVG = "image/svg+xml"
NPY = "application/x-npy"
DICOM = "application/dicom"
ZIP = "application/zip"
HTML = "text/html"
OCTETS = "application/octet-stream"
"""Any file: as the type of a body it says nothing of the content, which then speaks for itself."""
ONNX = "application/x-onnx"
"""Not registered; ONNX files have no media type of their own."""


def accept_of(headers: Headers) -> str | None:
    """The Accept field; several lines of it are one list (RFC 9110, section 5.3)."""
    return ", ".join(headers.getlist("accept")) or None


def _ranges(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = min(1.0, max(0.0, float(parameter[2:])))
                except ValueError:
                    quality = 0.0
        ranges.append((media_range, quality))
    return ranges


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[int, float]:
    """How specific the best matching range is, and its quality."""
    family = media_type.partition("/")[0]
    for specificity, pattern in ((3, media_type), (2, f"{family}/*"), (1, "*/*")):
        for media_range, quality in ranges:
            if media_range == pattern:
                return specificity, quality
    return 0, 0.0


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """The offered media type that the caller likes best; ties go to the earlier offer.

    Args:
        accept: value of the Accept header; None or empty accepts everything.
        offered: what the route can make, its default first.

    Raises:
        NotAcceptable: none of the offers matches.
    """
    if not accept or not accept.strip():
        return offered[0]
    ranges = _ranges(accept)
    best = max(offered, key=lambda media_type: _quality(media_type, ranges)[1])
    if _quality(best, ranges)[1] <= 0:
        raise NotAcceptable(f"This route answers {', '.join(offered)}. Name one of them in the Accept header.")
    return best
