"""`python -m deploy.serve NAME`: one HTTP process, with the same server settings on a laptop and in a container.

The gateway faces strangers: granian (hyper, in Rust) reads and writes its HTTP. It bounds heads in size, number of
fields and time, frames bodies whatever else a head says, and holds back what callers do not read. The services face the
gateway alone, which sends whole requests over a few connections: uvicorn serves them.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from importlib import import_module

import uvicorn

from deploy.commands import HTTP_PROCESSES
from services.declarations import NotDeclared, declared_capabilities
from shared.capabilities.collection import Capabilities
from shared.http.fleet import FleetTokenMissing, require_fleet_token
from shared.network_exposure import UnsafeBinding, require_safe_binding
from shared.settings import DOMAINS, Domain, Settings
from shared.telemetry.tracing import TracingUnavailable, require_tracing

_GARBAGE_THRESHOLDS = (20_000, 10, 10)

_GRACE_S = 5
"""Seconds that answers in flight, event streams among them, get to end when the process is asked to stop."""

_SERVICE_KEEP_ALIVE_S = 75
"""Longer than the gateway keeps its connections (`AiohttpTransport`), so that none is used as it closes."""


def service_configuration(domain: Domain, settings: Settings) -> uvicorn.Config:
    """The server of one service.

    Args:
        domain: which.
        settings: where it listens.
    """
    return uvicorn.Config(
        f"services.{domain}.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.service_port(domain),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ws="none",
        timeout_keep_alive=_SERVICE_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def settle_garbage_collector() -> None:
    """Tell the garbage collector to leave alone what the application and its libraries are made of.

    They stay until the process ends. To look through them again and again stops everything for tens of milliseconds;
    requests leave next to no garbage, so that looking less often does no harm.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def serve_service(domain: Domain, settings: Settings) -> int:
    """Serve one service until asked to stop; 3 if it does not start."""
    server = uvicorn.Server(service_configuration(domain, settings))
    server.config.load()
    settle_garbage_collector()
    server.run()
    return 0 if server.started else 3


def serve_gateway(settings: Settings, capabilities: Capabilities) -> int:
    """Serve the gateway of some capabilities until asked to stop; 3 if it does not start."""
    from deploy.edge_server import run_edge

    app = import_module("gateway.app").create_app(settings, capabilities=capabilities)
    settle_garbage_collector()
    try:
        return run_edge(app, settings, grace_s=_GRACE_S)
    except OSError as error:
        print(f"facet: cannot listen on {settings.host}:{settings.gateway_port}: {error.strerror}", file=sys.stderr)
        return 3


_CANNOT_START = (FleetTokenMissing, ImportError, NotDeclared, TracingUnavailable, UnsafeBinding, ValueError)
"""What is wrong with the settings (pydantic's ValidationError is a ValueError) or with the declarations."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until asked to stop; 2 if the settings are wrong, 3 if the application does not start."""
    parser = argparse.ArgumentParser(prog="python -m deploy.serve", description=__doc__)
    parser.add_argument("name", choices=HTTP_PROCESSES)
    name = parser.parse_args(arguments).name
    try:
        settings = Settings()
        require_safe_binding(settings)
        require_fleet_token(settings)
        require_tracing(settings)
        capabilities = declared_capabilities()
        capabilities.check_settings()
    except _CANNOT_START as error:
        print(f"facet: {error}", file=sys.stderr)
        return 2
    domain = next((domain for domain in DOMAINS if domain == name), None)
    return serve_gateway(settings, capabilities) if domain is None else serve_service(domain, settings)


if __name__ == "__main__":
    sys.exit(main())
