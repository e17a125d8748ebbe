"""Which processes make up Facet on one machine, and how each learns where the others are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.commands import command_of, worker_name
from deploy.local.ports import free_ports, is_free, require_free
from deploy.local.processes import Specification, Tier
from deploy.local.redis_server import RedisMissing, local_redis, without_password
from deploy.probes import http_probe, redis_probe, worker_probe
from shared.jobs.kinds import Weight
from shared.settings import DOMAINS, LOOPBACK_HOSTS, Settings

_LOOPBACK = "127.0.0.1"
_WORKER_MARGIN_S = 15.0
"""Seconds that a worker gets to end beyond its own grace, in which it hands its job back to the queue."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that is to be started, and where it will be found."""

    specifications: tuple[Specification, ...]
    url: str
    """The gateway, as seen from this machine."""
    service_urls: Mapping[str, str]
    redis_url: str


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says beyond the settings."""

    state: Path
    """Folder of Redis' data, blobs and logs."""
    weights: tuple[Weight, ...] = ("onnx",)
    """Classes of worker to start."""
    any_ports: bool = False
    """Take whatever ports are free; for tests."""


def build_fleet(settings: Settings, options: Options) -> Fleet:
    """Decide on ports and put the processes together. Starts nothing.

    Args:
        settings: ports, host, Redis and blob store.
        options: the command line.

    Raises:
        PortsTaken: a port is in use.
        RedisMissing: FACET_REDIS_URL is set and does not answer, or is not set and there is no Redis to start.
    """
    ports = _ports(settings, any_ports=options.any_ports)
    store, redis_url = _redis(settings, options.state)
    environment = _environment(settings, options, ports, redis_url)
    services: dict[str, str] = {domain: f"http://{_LOOPBACK}:{ports[domain]}" for domain in DOMAINS}
    host = settings.host if settings.host in LOOPBACK_HOSTS else _LOOPBACK
    gateway = f"http://{f'[{host}]' if ':' in host else host}:{ports['gateway']}"
    told = settings.model_copy(update={"redis_url": redis_url})
    return Fleet(
        specifications=(
            *store,
            *(_http_process(name, url, environment, host=_LOOPBACK) for name, url in services.items()),
            *(_worker(weight, told, environment) for weight in options.weights),
            _http_process("gateway", gateway, environment, host=settings.host, tier=Tier.EDGE),
        ),
        url=gateway,
        service_urls=services,
        redis_url=redis_url,
    )


def _ports(settings: Settings, *, any_ports: bool) -> dict[str, int]:
    """Ports by process name; a setting of 0 means any.

    Only the gateway's is known to anybody: a service whose port is not set takes another one where its own is in use,
    so that a second fleet needs nothing but another PORT.
    """
    ports = {"gateway": settings.gateway_port} | {domain: settings.service_port(domain) for domain in DOMAINS}
    hosts = {"gateway": settings.host}
    said = {"gateway", *(domain for domain in DOMAINS if f"{domain}_port" in settings.model_fields_set)}
    wanted = {
        name: port
        for name, port in ports.items()
        if port and not any_ports and (name in said or is_free(_LOOPBACK, port))
    }
    require_free({f"FACET_{name.upper()}_PORT": (hosts.get(name, _LOOPBACK), port) for name, port in wanted.items()})
    rest = [name for name in ports if name not in wanted]
    return wanted | dict(zip(rest, free_ports(len(rest)), strict=True))


def _redis(settings: Settings, state: Path) -> tuple[tuple[Specification, ...], str]:
    """The Redis to start, if any, and the URL of the one to use."""
    if "redis_url" not in settings.model_fields_set:
        specification, url = local_redis(state / "redis", free_ports(1)[0])
        return (specification,), url
    fault = redis_probe(settings.redis_url)()
    if fault is not None:
        raise RedisMissing(
            f"Redis at {without_password(settings.redis_url)} (FACET_REDIS_URL) does not answer: {fault}. "
            "Start it, or unset FACET_REDIS_URL to let Facet bring its own."
        )
    return (), settings.redis_url


def _environment(settings: Settings, options: Options, ports: Mapping[str, int], redis_url: str) -> dict[str, str]:
    blobs = settings.blob_url if "blob_url" in settings.model_fields_set else str(options.state.resolve() / "blobs")
    environment = {"FACET_REDIS_URL": redis_url, "FACET_BLOB_URL": blobs}
    for name, port in ports.items():
        environment[f"FACET_{name.upper()}_PORT"] = str(port)
    if settings.fleet_token is not None:
        environment["FACET_FLEET_TOKEN"] = settings.fleet_token.get_secret_value()
    for domain in DOMAINS:
        environment[f"FACET_{domain.upper()}_URL"] = f"http://{_LOOPBACK}:{ports[domain]}"
    return environment


def _http_process(
    name: str, url: str, environment: Mapping[str, str], *, host: str, tier: Tier = Tier.BACKEND
) -> Specification:
    return Specification(
        name=name,
        command=command_of(name),
        tier=tier,
        ready=http_probe(f"{url}/health/ready"),
        alive=http_probe(f"{url}/health/live"),
        address=url,
        environment={**environment, "FACET_HOST": host},
    )


def _worker(weight: Weight, settings: Settings, environment: Mapping[str, str]) -> Specification:
    probe = worker_probe(settings, weight)
    return Specification(
        name=worker_name(weight),
        command=command_of(worker_name(weight)),
        tier=Tier.BACKEND,
        ready=probe,
        alive=probe,
        environment=environment,
        grace_s=settings.worker_shutdown_grace_s + _WORKER_MARGIN_S,
    )
