"""`python -m deploy.serve NAME`: one HTTP process, with the same server settings on a laptop and in a container."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn
from pydantic import ValidationError

from deploy.commands import HTTP_PROCESSES
from shared.binding import UnsafeBinding, require_safe_binding
from shared.http.front import Front
from shared.settings import DOMAINS, Settings
from shared.telemetry.tracing import TracingUnavailable, require_tracing

_GARBAGE_THRESHOLDS = (20_000, 10, 10)

_DOORS = 16
"""Handles on the one listening socket. libuv accepts one connection of each in a turn of its loop, and a turn takes a
tenth of a second when a thousand connections have something to say: with one, those who come anew, health probes among
them, would wait until the others have had enough."""

_GRACE_S = 5
"""Seconds that answers in flight, event streams among them, get to end when the process is asked to stop."""


def configuration(name: str, settings: Settings) -> uvicorn.Config:
    """The server of one process.

    Args:
        name: "gateway" or a domain.
        settings: where it listens.

    Raises:
        UnsafeBinding: the address would let strangers in.
        TracingUnavailable: tracing is asked for, and its packages are missing.
    """
    require_safe_binding(settings)
    require_tracing(settings)
    front: Any = Front  # uvicorn asks no more of it than to be a protocol
    domain = next((domain for domain in DOMAINS if domain == name), None)
    return uvicorn.Config(
        f"services.{domain}.app:create_app" if domain else "gateway.app:create_app",
        factory=True,
        http=front,
        host=settings.host,
        port=settings.service_port(domain) if domain else settings.gateway_port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=domain is not None,  # the gateway believes its own `trusted_proxies`
        timeout_graceful_shutdown=_GRACE_S,
    )


def _settle(config: uvicorn.Config) -> None:
    """Make the application, and tell the garbage collector to leave alone what it and its libraries are made of.

    They stay until the process ends. To look through them again and again stops everything for tens of milliseconds;
    requests leave next to no garbage, so that looking less often does no harm.
    """
    config.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until asked to stop; 2 if the settings are wrong, 3 if the application does not start."""
    parser = argparse.ArgumentParser(prog="python -m deploy.serve", description=__doc__)
    parser.add_argument("name", choices=HTTP_PROCESSES)
    name = parser.parse_args(arguments).name
    try:
        server = uvicorn.Server(configuration(name, Settings()))
    except (TracingUnavailable, UnsafeBinding, ValidationError) as error:
        print(f"facet: {error}", file=sys.stderr)
        return 2
    _settle(server.config)
    door = server.config.bind_socket()
    server.run(sockets=[door, *(door.dup() for _ in range(_DOORS - 1))])
    return 0 if server.started else 3


if __name__ == "__main__":
    sys.exit(main())
