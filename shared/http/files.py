"""Answers that are files: an image, an array, a DICOM object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.responses import Response

from shared.http.negotiation import DICOM, HTML, JSON, NPY, ONNX, PNG, SVG, ZIP


class ModelIdentity(Protocol):
    """The model that made a file: `shared.runtime.cards.ModelReference`, or what has the same members."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def version(self) -> str:
        """As in its card."""

    @property
    def weights_sha256(self) -> str:
        """Digest of its file, hexadecimal."""


_EXTENSIONS = {PNG: "png", SVG: "svg", NPY: "npy", DICOM: "dcm", ZIP: "zip", ONNX: "onnx", HTML: "html"}
"""Those that the fleet knows by itself, and then what capabilities have declared."""

FILE_HEADERS: dict[str, Any] = {
    "Facet-Model": {
        "description": "Name, version and weights digest of the model that made the file",
        "schema": {"type": "string"},
    },
    "Facet-Notice": {"description": "What whoever sees the file must know", "schema": {"type": "string"}},
}
"""OpenAPI description of the headers that `file_response` adds."""


def register_extensions(extensions: Mapping[str, str]) -> None:
    """Make the extensions of further media types known in this process, once at its start.

    Raises:
        ValueError: a media type has another extension already.
    """
    for media_type, extension in extensions.items():
        if (known := _EXTENSIONS.setdefault(media_type, extension)) != extension:
            raise ValueError(f"files of {media_type} end in .{known}, not in .{extension}")


def extension_of(media_type: str) -> str:
    """What a file of a media type ends in, without a dot; `bin` where nobody has declared it."""
    return _EXTENSIONS.get(media_type, "bin")


def file_response(
    content: bytes, media_type: str, *, name: str, model: ModelIdentity | None = None, notice: str | None = None
) -> Response:
    """A file, named after what it is and never after what the caller posted.

    Args:
        content: the file.
        media_type: its type.
        name: stem of the file name.
        model: the model that made it; named in the headers, since a picture has no room for it.
        notice: what whoever sees the file must know, such as that it is no medical device; ASCII.
    """
    disposition = "inline" if media_type in {PNG, SVG} else "attachment"
    headers = {
        "Content-Disposition": f'{disposition}; filename="{name}.{extension_of(media_type)}"',
        "Cache-Control": "private, no-store",
        "Vary": "Accept",
    }
    if model is not None:
        headers["Facet-Model"] = f'{model.name};version="{model.version}";sha256="{model.weights_sha256}"'
    if notice is not None:
        headers["Facet-Notice"] = notice
    return Response(content, media_type=media_type, headers=headers)


def json_response(answer: BaseModel) -> Response:
    """A model as JSON, for routes that write their answers themselves."""
    return Response(answer.model_dump_json(by_alias=True), media_type=JSON)
