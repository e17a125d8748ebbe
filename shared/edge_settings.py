"""Settings of the edge alone: addresses, connections, request bodies, quotas, and who may use it from a browser."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, IPvAnyNetwork, StringConstraints, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_NAME = rf"{_LABEL}(\.{_LABEL})*"
_PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?")

HostPattern = Annotated[str, StringConstraints(to_lower=True, pattern=rf"(?i)^(\*\.)?{_NAME}$")]
"""A host name without port, or `*.` and the name that all of them end in."""

CorsOrigin = Annotated[
    str, StringConstraints(to_lower=True, pattern=rf"(?i)^(\*|https?://({_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?)$")
]
"""What a browser sends as Origin: scheme, host and, unless it is the scheme's own, port; or `*`."""


def split_list(value: object) -> object:
    """The items of a list that came from the environment as one text."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class FilesNamedInEnvironment(PydanticBaseSettingsSource):
    """Settings whose values are the contents of files: `FACET_FLEET_TOKEN_FILE=/run/secrets/fleet_token`.

    Environments are shown by `docker inspect` and inherited by every child process; mounted secrets are not.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file that the variable of a field names, without white space around it.

        Raises:
            SettingsError: it cannot be read, or the value itself is in the environment, too.
        """
        name = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        path = os.environ.get(f"{name}_FILE", "")
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set; keep one")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE names {path}, which cannot be read: {error}") from None

    def __call__(self) -> dict[str, Any]:
        """All values that are in files."""
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class EnvironmentSettings(BaseSettings):
    """Where settings come from, for all classes of them: variables, files that variables name, then `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="FACET_",
        env_file=".env",
        extra="ignore",
        use_attribute_docstrings=True,
        frozen=True,
        env_ignore_empty=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The first that knows a setting decides."""
        return init_settings, env_settings, FilesNamedInEnvironment(settings_cls), dotenv_settings, file_secret_settings


class EdgeSettings(EnvironmentSettings):
    """What the gateway's edge is told; a part of `shared.settings.Settings`."""

    quota_requests_per_minute: int = Field(default=600, ge=1)
    """Requests that run or write something, per owner of keys; reading has ten times as many."""

    quota_bytes_per_minute: int = Field(default=4 * 1024**3, ge=1)
    """Bytes of request bodies per owner of keys."""

    quota_jobs: int = Field(default=100, ge=1)
    """Unfinished jobs at once per owner of keys."""

    audit_entries: int = Field(default=100_000, ge=1)
    """Entries of the audit log that Redis keeps, about."""

    head_limit_bytes: int = Field(default=64 * 1024, ge=1024, le=100 * 1024)
    """Most bytes of a request's address and header fields; more is answered with 431. The server itself answers heads
    over 128 KiB, in the same way."""

    head_fields_limit: int = Field(default=100, ge=1, le=100)
    """Most header fields of a request; more is answered with 431, beyond 100 by the server itself."""

    keep_alive_s: float = Field(default=75.0, ge=1)
    """Seconds that a connection may take until its next head is there in full: how long idle connections are kept, and
    how long half a head is waited for."""

    body_timeout_s: float = Field(default=20.0, gt=0)
    """Seconds without a further byte of a request's body, after which it is answered with 408 and closed."""

    body_least_bytes_per_s: int = Field(default=1024, ge=1)
    """Least rate at which a body must come on average, beyond `body_timeout_s`; slower ones are answered with 408."""

    send_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that a part of an answer waits for a caller who does not read; then its connection is closed."""

    spool_bytes: int = Field(default=1024 * 1024, ge=0, le=16 * 1024 * 1024)
    """Bytes of a request's body that the gateway holds in memory; larger bodies are held on disk."""

    held_limit_bytes: int = Field(default=128 * 1024 * 1024, ge=0)
    """Bytes of all requests' bodies that the gateway holds in memory at once; beyond, bodies are held on disk."""

    spool_limit_bytes: int = Field(default=8 * 1024**3, ge=0)
    """Bytes of all requests' bodies that the gateway holds on disk at once; further ones are answered with 503."""

    spool_folder: Path | None = None
    """Folder of bodies on disk; by default the system's for temporary files, which should not be memory (tmpfs)."""

    proxy_connect_timeout_s: float = Field(default=2.0, gt=0)
    """Seconds the gateway waits for a connection to a service."""

    proxy_read_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds the gateway waits between two parts of a service's answer."""

    public_url: str = ""
    """Address that callers know the gateway by, such as https://example.org/facet. It goes before links in webhooks,
    which are paths without it; its path goes before every path that an answer names, and requests whose path begins
    with it are answered as if it were not there; its name is one that the gateway answers to."""

    allowed_hosts: Annotated[tuple[HostPattern, ...], NoDecode] = ()
    """Names, parted by commas, that the gateway answers to without API keys, beside localhost, IP addresses and the
    name of `public_url`: `facet.internal`, or `*.example.org` for all names below one. Others are answered with 421,
    since any web page can point a name of its own at this machine (DNS rebinding)."""

    cors_origins: Annotated[tuple[CorsOrigin, ...], NoDecode] = ()
    """Origins, parted by commas, whose web pages may use the gateway from a browser (CORS), such as
    https://console.example.org; `*` stands for all. Without API keys, such pages may do everything."""

    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """Networks, parted by commas, of reverse proxies in front of the gateway, whose X-Forwarded-For,
    X-Forwarded-Proto and X-Forwarded-Prefix are believed. The proxy has to replace what callers send under these
    names."""

    event_link_s: int = Field(default=60, ge=5, le=3600)
    """Seconds in which a signed link to the events of a job can be opened, and opened again. A stream that was opened
    in time goes on."""

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        """It is taken apart for its name and its path, so it has to be a plain address."""
        if value and not _PUBLIC_URL.fullmatch(value):
            raise ValueError("an address such as https://example.org/facet is wanted, without query and fragment")
        return value.rstrip("/")

    @field_validator("allowed_hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_edge_lists(cls, value: object) -> object:
        return split_list(value)
