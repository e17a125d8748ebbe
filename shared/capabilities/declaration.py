"""The declaration of one capability, as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared.capabilities.references import check_reference
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget
from shared.settings import CapabilitySettings, Domain

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SCOPE = re.compile(r"[a-z][a-z0-9-]*:[a-z][a-z0-9-]*")
_PATH = re.compile(r"(/[a-z0-9{}_-]+)+")
_OPTIMISATION = "optimisation"
"""The folder of a capability whose code may need torch."""

_EXTENSION = re.compile(r"[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an API key may be allowed to do.

    Capabilities of one domain may declare the same scope, each with its own words.
    """

    name: str
    """`<family>:<verb>`, such as `medical:run`; a key with `medical:*` has all of the family."""
    allows: str
    """In words, behind "allows to"."""

    def __post_init__(self) -> None:
        if not _SCOPE.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no scope: <family>:<verb>, such as medical:run")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Which scopes a path and all below it need; what no rule names needs `admin`."""

    path: str
    """Without a slash at its end, such as `/v1/<domain>/<name>`."""
    reading: str
    """Scope of GET, HEAD and OPTIONS."""
    running: str
    """Scope of all other methods."""

    def __post_init__(self) -> None:
        _check_path(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimit:
    """A path, and all below it, whose bodies may be larger than others."""

    path: str
    """Without a slash at its end."""
    most_bytes: Callable[[], int]
    """Read once by each process; the fleet's own limit holds where it is larger."""

    def __post_init__(self) -> None:
        _check_path(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """The chapter of the OpenAPI document that holds the routes of a capability."""

    name: str
    """As its routers have it."""
    description: str
    """Markdown."""
    order: int
    """Chapters are listed from the lowest to the highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileType:
    """A media type of result files that the fleet does not know by itself."""

    media_type: str
    extension: str
    """Without a dot."""

    def __post_init__(self) -> None:
        if "/" not in self.media_type or not _EXTENSION.fullmatch(self.extension):
            raise ValueError(f"{self.media_type}, {self.extension}: not a media type and an extension")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A file to try a route with."""

    name: str
    """That it is written under; one name is one content."""
    make: str
    """Reference to a function without parameters that returns its bytes, the same ones each time."""

    def __post_init__(self) -> None:
        check_reference(self.make)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A request to try a route with by POST: a multipart form, or a JSON body.

    Each route has one at least (`tests/contract/test_every_route.py`). A parameter of the path stands for what the
    first sample of the path before it makes: `/streams/{stream_id}/observations` is tried on a stream of `/streams`.
    """

    title: str
    """What it asks for, in words."""
    path: str
    """Of the route, with its parameters in braces."""
    files: Mapping[str, SampleFile] = field(default_factory=lambda: MappingProxyType({}))
    """By field of the form."""
    form: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Further fields."""
    json: Mapping[str, Any] | None = None
    """The body, in place of a form."""

    def __post_init__(self) -> None:
        _check_path(self.path)
        if (self.json is not None) == bool(self.files or self.form):
            raise ValueError(f"{self.title!r} is to have either a form or a JSON body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One capability. References are resolved by the process that needs what they name."""

    name: str
    """Of its folder."""
    domain: Domain
    """The service that has its routes."""
    routers: tuple[str, ...] = ()
    """References to `fastapi.APIRouter`s."""
    direct_routes: tuple[str, ...] = ()
    """References to `shared.http.direct.DirectRoute`s: busy routes that are answered without the framework."""
    state: str | None = None
    """Reference to a function that takes the `ServiceState` and returns an asynchronous context manager. What it gives
    is open as long as the service is, and routes find it by its type (`shared.service.state_of`)."""
    warm_ups: tuple[str, ...] = ()
    """References to functions that take the `ServiceState`; called once, in a thread, before the service is ready."""
    kinds: tuple[JobKind, ...] = ()
    """Its jobs."""
    models: Path | None = None
    """Folder of released models of its own, beside those of the domain."""
    scopes: tuple[Scope, ...] = ()
    access: tuple[AccessRule, ...] = ()
    body_limits: tuple[BodyLimit, ...] = ()
    tag: Tag | None = None
    file_types: tuple[FileType, ...] = ()
    settings: type[CapabilitySettings] | None = None
    """Settings of its own, checked when its service starts."""
    memory: MemoryBudget
    """What it may add to the memory of its service; `make bench-memory` measures it."""
    samples: tuple[Sample, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a capability: small letters, digits and _")
        for reference in self.references():
            check_reference(reference)
        self._check_kinds()
        self._check_access()

    def references(self) -> Iterator[str]:
        """All that it names as `module:attribute`."""
        yield from self.routers
        yield from self.direct_routes
        yield from self.warm_ups
        if self.state is not None:
            yield self.state
        for kind in self.kinds:
            yield kind.function
        for sample in self.samples:
            yield from (file.make for file in sample.files.values())

    def _check_kinds(self) -> None:
        for kind in self.kinds:
            if kind.queue.partition(".")[0] != self.domain:
                raise ValueError(f"{self.name}: {kind.name} waits in {kind.queue}, not in a queue of {self.domain}")
            if _OPTIMISATION in kind.function.partition(":")[0].split(".") and kind.weight != "torch":
                raise ValueError(f"{self.name}: {kind.name} needs gradients, and {kind.queue} has no torch")

    def _check_access(self) -> None:
        known = {scope.name for scope in self.scopes}
        for rule in self.access:
            if not rule.path.startswith(f"/v1/{self.domain}/"):
                raise ValueError(f"{self.name}: {rule.path} is not below /v1/{self.domain}/")
            if unknown := sorted({rule.reading, rule.running} - known):
                raise ValueError(f"{self.name}: {rule.path} needs scopes that are not declared: {', '.join(unknown)}")


def _check_path(path: str) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no path such as /v1/<domain>/<name>")
