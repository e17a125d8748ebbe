"""What an operator registers of a model that somebody runs elsewhere: where it is, how it is asked, who answers for it.
Callers name such an endpoint; they can register none.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

if TYPE_CHECKING:
    import httpx

PICTURE: Final = "{{picture}}"
"""Stands for the PNG in Base64 in strings of a JSON template."""

SECRETS: Final = "FACET_(CAPTION|DETECTOR)_ENDPOINT_"
"""How variables of the environment begin that may be sent to an endpoint; others hold secrets of the fleet."""

_HEADER: Final = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")


class JsonRequest(BaseModel):
    """The picture in a JSON document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["json"] = "json"
    template: Any = Field(
        description=f"The document; {PICTURE} in its strings becomes the PNG in Base64",
        examples=[{"image": f"data:image/png;base64,{PICTURE}"}],
    )

    @model_validator(mode="after")
    def _has_picture(self) -> Self:
        if PICTURE not in orjson.dumps(self.template).decode():
            raise ValueError(f"no string of the template has {PICTURE}")
        return self

    def arguments(self, png: bytes) -> dict[str, Any]:
        """As httpx takes it."""
        return {"json": _fill(self.template, b64encode(png).decode("ascii"))}


class MultipartRequest(BaseModel):
    """The picture as a file of a form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["multipart"] = "multipart"
    file: str = Field(description="Name of the field of the picture", min_length=1, max_length=100)
    fields: dict[str, str] = Field(default_factory=dict, description="Further fields")

    def arguments(self, png: bytes) -> dict[str, Any]:
        """As httpx takes it."""
        return {"files": {self.file: ("picture.png", png, "image/png")}, "data": dict(self.fields)}


class SecretHeader(BaseModel):
    """A header with a secret, which is read from the environment when it is sent and written nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="Authorization", pattern=_HEADER)
    variable: str = Field(description="Of the environment", pattern=f"^{SECRETS}[A-Z0-9_]+$")
    prefix: str = Field(default="", description="Before the secret", examples=["Bearer "], pattern=r"^[\x20-\x7e]*$")

    @model_validator(mode="after")
    def _is_no_header_of_ours(self) -> Self:
        if self.name.lower() in _OURS:
            raise ValueError(f"the header {self.name} is set by Facet")
        return self

    def read(self, environment: Mapping[str, str] | None = None) -> SecretStr:
        """Value of the header.

        Raises:
            ValueError: the variable is not set, or holds what a header cannot.
        """
        secret = (os.environ if environment is None else environment).get(self.variable, "")
        if not secret or not secret.isascii() or not secret.isprintable():
            raise ValueError(f"the variable {self.variable} must hold a secret of printable ASCII characters")
        return SecretStr(self.prefix + secret)


def is_pointer(text: str) -> bool:
    """Whether a text is a JSON pointer (RFC 6901)."""
    return _POINTER.fullmatch(text) is not None


class Endpoint(BaseModel):
    """A model that an operator has registered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="As callers name it", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    url: str = Field(description="Where pictures are posted to", max_length=2048)
    request: Annotated[JsonRequest | MultipartRequest, Field(discriminator="kind")]
    secret: SecretHeader | None = None
    queries_per_s: float = Field(default=2.0, gt=0, le=1000, description="Most pictures that are sent in a second")
    concurrency: int = Field(default=1, ge=1, le=64, description="Most pictures that are under way")
    timeout_s: float = Field(default=30.0, gt=0, le=600, description="Until an answer is complete")
    tries: int = Field(default=3, ge=1, le=10, description="Of each picture; further ones count as queries")
    owner: str = Field(description="Who owns the model", min_length=2, max_length=200)
    ownership: str = Field(
        description="The owner's statement that this test is allowed, which the audit log repeats",
        min_length=20,
        max_length=2000,
        examples=["We run this model and have asked for robustness tests of it, 2026-11-28."],
    )

    @model_validator(mode="after")
    def _says_who_allows_it(self) -> Self:
        if not self.owner.strip() or len(self.ownership.split()) < 4:
            raise ValueError("owner and ownership must say who allows the test")
        return self

    def build_request(self, png: bytes, secret: SecretStr | None) -> httpx.Request:
        """The request about a picture.

        Args:
            png: the picture.
            secret: value of the secret header, if there is one.
        """
        import httpx  # settings are read where nothing is sent, such as by the command line

        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.secret is not None and secret is not None:
            headers[self.secret.name] = secret.get_secret_value()
        return httpx.Request("POST", self.url, headers=headers, **self.request.arguments(png))


def require_different_names(endpoints: Sequence[Endpoint]) -> None:
    """Refuse registrations that callers cannot tell apart.

    Raises:
        ValueError: two have the same name.
    """
    names = [endpoint.name for endpoint in endpoints]
    if len(set(names)) < len(names):
        raise ValueError("two endpoints have the same name")


def _fill(template: Any, picture: str) -> Any:
    if isinstance(template, str):
        return template.replace(PICTURE, picture)
    if isinstance(template, dict):
        return {key: _fill(value, picture) for key, value in template.items()}
    return [_fill(value, picture) for value in template] if isinstance(template, list) else template


def follow(document: Any, pointer: str) -> Any:
    """What a JSON pointer points at (RFC 6901, section 4); None for nothing."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and _INDEX.fullmatch(key) and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return document
