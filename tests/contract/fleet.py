"""A whole fleet on sockets: gateway and services in threads of this process, Redis and workers in their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.app import create_app
from services.declarations import declared_capabilities
from services.kinds import declared_weights
from shared.capabilities.collection import BodyLimits
from shared.capabilities.declaration import Capability, Sample
from shared.capabilities.references import load_reference
from shared.jobs.kinds import JobKinds, Weight, queues_of
from shared.settings import DOMAINS, Domain, Settings
from tests.contract.documents import Document, in_full
from tests.hostile.processes import ServerProcess, redis_running
from tests.hostile.processes import running as process_running
from tests.integration.gateway.servers import serve
from tests.support.processes import until
from tests.support.serving import FLEET_TOKEN, PATIENCE_S

DECLARED = declared_capabilities()

_MANY = 1_000_000


@dataclass(frozen=True)
class Route:
    """A route of a capability.

    Attributes:
        capability: that declares it.
        path: with its parameters in braces.
    """

    capability: Capability
    path: str

    @property
    def samples(self) -> list[Sample]:
        """Requests that it is to take."""
        return [sample for sample in self.capability.samples if sample.path == self.path]

    def __str__(self) -> str:
        return self.path


def routes(method: str) -> list[Route]:
    """All routes of a method that capabilities declare, in their order."""
    routers = [(one, load_reference(reference)) for one in DECLARED for reference in one.routers]
    return [Route(one, route.path) for one, router in routers for route in router.routes if method in route.methods]


@dataclass(frozen=True)
class Fleet:
    """What runs.

    Attributes:
        client: of the gateway.
        document: its OpenAPI.
        limits: of bodies, by path.
    """

    client: httpx.Client
    document: Document
    limits: BodyLimits
    _answers: dict[str, httpx.Response] = field(default_factory=dict)

    def operation(self, route: Route, method: str = "post") -> dict[str, Any]:
        """What the document says of a route."""
        return in_full(self.document, self.document["paths"][route.path][method])

    def target(self, route: Route) -> str:
        """Path of a route whose parameter is what the first sample of the path before it has made.

        Where nothing is posted to that path, it is the name of the first of what is listed there.
        """
        before, parameter, after = route.path.partition("/{")
        if not parameter:
            return route.path
        collection = Route(route.capability, before)
        if collection.samples:
            location: str = self.first_answer(collection).headers["location"]
        else:
            location = f"{before}/{self._first_listed(before)}"
        return location + after.partition("}")[2]

    def _first_listed(self, path: str) -> str:
        """Name of the first item of a list; the test is skipped where a fleet without releases has none."""
        answer = self.client.get(path).json()
        items = next(value for value in answer.values() if isinstance(value, list))
        if not items:
            pytest.skip(f"nothing is released that {path} lists")
        name: str = items[0]["name"]
        return name

    def first_answer(self, route: Route) -> httpx.Response:
        """What the first sample of a route is answered with; it is sent once."""
        if route.path not in self._answers:
            self._answers[route.path] = self.send(route, route.samples[0])
        return self._answers[route.path]

    def send(
        self,
        route: Route,
        sample: Sample,
        *,
        headers: Mapping[str, str] | None = None,
        changed: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Post a sample.

        Args:
            route: where to.
            sample: what.
            headers: further ones.
            changed: fields in place of the sample's, or beside them; bytes are a file.
            params: query.
        """
        body = self._body(sample, changed or {})
        return self.client.post(self.target(route), headers=headers, params=params, **body)

    def _body(self, sample: Sample, changed: Mapping[str, Any]) -> dict[str, Any]:
        if sample.json is not None:
            return {"json": {**sample.json, **changed}}
        files = {name: (file.name, load_reference(file.make)()) for name, file in sample.files.items()}
        files |= {name: ("file", value) for name, value in changed.items() if isinstance(value, bytes)}
        texts = {name: str(value) for name, value in changed.items() if not isinstance(value, bytes)}
        return {"files": files, "data": {**sample.form, **texts}}

    def send_as_body(self, route: Route, sample: Sample) -> httpx.Response:
        """Post the one file of a sample as the body, with its form in the query."""
        (file,) = sample.files.values()
        headers = {"Content-Type": "application/octet-stream"}
        content = load_reference(file.make)()
        return self.client.post(self.target(route), content=content, headers=headers, params=dict(sample.form))

    def announce(self, target: str, *, length: int) -> tuple[int, str]:
        """Begin to post a body of so many bytes; status and media type of what is answered before any of them."""
        url = self.client.base_url
        connection = HTTPConnection(url.host, url.port or 80, timeout=PATIENCE_S)
        try:
            connection.putrequest("POST", target)
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(length))
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers.get_content_type()
        finally:
            connection.close()

    def finished(self, answer: httpx.Response) -> dict[str, Any]:
        """The job that an answer is about, once it has ended; it is waited for as long as it gets on."""
        job: dict[str, Any] = self.client.get(answer.headers["location"]).json()
        while job["finished_at"] is None:
            seen = _position(job)
            until(lambda: _position(self._reload(job)) != seen, said=job)  # noqa: B023 - called at once
        return job

    def _reload(self, job: dict[str, Any]) -> dict[str, Any]:
        job |= self.client.get(job["links"]["self"]).json()
        return job


def _position(job: dict[str, Any]) -> object:
    """What changes of a job that gets on."""
    return job["status"], job["queue_position"], (job["progress"] or {}).get("step")


@contextmanager
def running_fleet(folder: Path) -> Iterator[Fleet]:
    """Start a fleet with the released models; everything ends with it."""
    with ExitStack() as stack:
        values = {
            "redis_url": f"{stack.enter_context(redis_running(folder))}/0",
            "blob_url": str(folder / "blobs"),
            "quota_requests_per_minute": str(_MANY),
            "worker_heartbeat_s": "1.0",  # a campaign keeps a busy worker from saying more often that it lives
        }
        for domain in reversed(DOMAINS):  # perception first: others ask it
            app = import_module(f"services.{domain}.app").create_app(_settings(values))
            values[f"{domain}_url"] = stack.enter_context(serve(app))
        workers = [stack.enter_context(_worker(folder, values, weight)) for weight in _weights()]
        settings = _settings(values)
        url = stack.enter_context(serve(create_app(settings, capabilities=DECLARED)))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False))
        until(lambda: all(_is_ready(settings, domain) for domain in DOMAINS), said="a service does not get ready")
        until(lambda: all(_is_attended(settings, weight) for weight in _weights()), said=workers)
        until(lambda: "x-unavailable" not in _document(client), said="the document lacks a service")
        yield Fleet(client, _document(client), DECLARED.body_limits(settings))


def _document(client: httpx.Client) -> Document:
    found: Document = client.get("/openapi.json").json()
    return found


def _settings(values: Mapping[str, str]) -> Settings:
    return Settings.model_validate({**values, "fleet_token": FLEET_TOKEN})


def _weights() -> tuple[Weight, ...]:
    return declared_weights(JobKinds(DECLARED.kinds))


@contextmanager
def _worker(folder: Path, values: Mapping[str, str], weight: Weight) -> Iterator[ServerProcess]:
    environment = {f"FACET_{name.upper()}": value for name, value in values.items()}
    environment["FACET_FLEET_TOKEN"] = FLEET_TOKEN
    command = [sys.executable, "-m", "services.worker", "--weight", weight]
    with process_running(command, folder / f"worker-{weight}.log", environment) as worker:
        yield worker


def _is_ready(settings: Settings, domain: Domain) -> bool:
    return httpx.get(f"{settings.service_url(domain)}/health/ready").status_code == 200


def _is_attended(settings: Settings, weight: Weight) -> bool:
    with redis.Redis.from_url(settings.redis_url) as client:
        return all(client.zcard(f"facet:queue:{queue}:workers") for queue in queues_of(weight))
