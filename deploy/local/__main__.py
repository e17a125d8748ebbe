"""`python -m deploy.local`: the whole of Facet on this machine; what `make run` calls."""

from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from deploy.local.fleet import Fleet, Options, build_fleet
from deploy.local.ports import PortsTaken
from deploy.local.readyfile import write_ready_file
from deploy.local.redis_server import RedisMissing
from deploy.local.supervisor import StartFailed, Supervisor
from deploy.local.workers import KindsUnreadable, worker_weights
from shared.network_exposure import UnsafeBinding, require_safe_binding
from shared.settings import Settings
from shared.telemetry.tracing import TracingUnavailable, require_tracing


class AlreadyRunning(Exception):
    """Another fleet uses the same folder."""


def say(line: str) -> None:
    """Print a line at once; a terminal that went away is no reason to fail."""
    with suppress(OSError):
        print(f"facet: {line}", flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--port", type=int, help="port of the gateway; as FACET_GATEWAY_PORT")
    parser.add_argument("--free-ports", action="store_true", help="take whatever ports are free")
    parser.add_argument(
        "--without-torch", action="store_true", help="leave out the torch worker, even where a kind of job needs it"
    )
    parser.add_argument("--state", type=Path, default=Path(".facet"), help="folder of data and logs (%(default)s)")
    parser.add_argument("--ready-file", type=Path, help="written once all is ready: URLs and process ids as JSON")
    return parser.parse_args(arguments)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder for this fleet alone: two Redis servers on one append-only file would ruin it.

    Raises:
        AlreadyRunning: another supervisor holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise AlreadyRunning(
                f"a fleet (pid {holder}) already runs out of {folder}; stop it, or give this one its own: --state"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def supervise(fleet: Fleet, options: argparse.Namespace) -> None:
    """Run the fleet until a signal asks to stop.

    Raises:
        StartFailed: it did not get ready.
    """

    def announce(pids: dict[str, int]) -> None:
        say(f"open {fleet.url}/docs - Ctrl-C stops everything")
        if options.ready_file:
            facts = {"url": fleet.url, "services": fleet.service_urls, "redis_url": fleet.redis_url}
            write_ready_file(options.ready_file, {**facts, "pids": pids, "supervisor": os.getpid()})

    supervisor = Supervisor(fleet.specifications, logs=options.state / "logs", say=say, on_change=announce)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    try:
        supervisor.run()
    finally:
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)
    say("stopped")


def _settings(port: int | None) -> Settings:
    """The settings, with a token of the fleet's own if the operator gives none."""
    settings = Settings() if port is None else Settings(gateway_port=port)
    if settings.fleet_token is None:
        return settings.model_copy(update={"fleet_token": SecretStr(secrets.token_urlsafe(32))})
    return settings


_CANNOT_START = (
    AlreadyRunning,
    KindsUnreadable,
    PortsTaken,
    RedisMissing,
    SettingsError,
    TracingUnavailable,
    UnsafeBinding,
    ValidationError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a stop that was asked for, 1 if the fleet does not start, 2 if it cannot be started like this."""
    options = parse(arguments)
    try:
        settings = _settings(options.port)
        require_safe_binding(settings)
        require_tracing(settings)
        with claimed(options.state):
            weights = worker_weights(without_torch=options.without_torch, say=say)
            plan = Options(state=options.state, weights=weights, any_ports=options.free_ports)
            supervise(build_fleet(settings, plan), options)
    except _CANNOT_START as error:
        say(f"cannot start: {error}")
        return 2
    except StartFailed as error:
        say(f"did not start: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
