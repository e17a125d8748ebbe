"""`facet status`: is there work that waits, who does it, and does everything answer?"""

from __future__ import annotations

import dataclasses

import click
import httpx

from deploy.operator.connection import find_settings
from deploy.operator.output import Failure, as_json, duration, print_json, print_table, run
from shared.jobs.connection import api_client
from shared.jobs.overview import Overview, read_overview
from shared.settings import LOOPBACK_HOSTS, Settings

_TIMEOUT_S = 3.0


@click.command()
@as_json
def status(*, as_json: bool) -> None:
    """Queues, workers, running jobs, Redis, and the readiness of the services behind the gateway.

    Exit status: 0 when all is ready, 1 when something is not, 3 when Redis does not answer.
    """
    settings = find_settings()
    checks = run(lambda: _readiness(settings))
    faults = {name: state for name, state in checks.items() if state != "ok"}
    try:
        overview = run(lambda: _overview(settings))
    except Failure:
        if not as_json:
            _print_checks(checks)
        raise
    if as_json:
        print_json(dataclasses.asdict(overview) | {"checks": checks})
    else:
        _print_overview(overview)
        _print_checks(checks)
    if faults:
        raise click.exceptions.Exit(1)


async def _overview(settings: Settings) -> Overview:
    async with api_client(settings.redis_url) as redis:
        return await read_overview(redis, settings)


async def _readiness(settings: Settings) -> dict[str, str]:
    """What the gateway says is ready, by name; that the gateway itself does not answer is among it."""
    host = settings.host if settings.host in LOOPBACK_HOSTS else "127.0.0.1"
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.gateway_port}"
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = (await client.get(f"{url}/health/ready")).json()
        return {"gateway": "ok"} | {str(name): str(state) for name, state in answer["checks"].items()}
    except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
        return {"gateway": f"does not answer at {url}"}


def _print_overview(overview: Overview) -> None:
    rows = [
        (queue.name, queue.waiting, duration(queue.oldest_wait_s), queue.workers, duration(queue.pace_s))
        for queue in overview.queues
    ]
    print_table(("QUEUE", "WAITING", "OLDEST", "WORKERS", "PACE"), rows)
    click.echo()
    if overview.running:
        print_table(
            ("RUNNING", "KIND", "ATTEMPT", "WORKER", "LEASE"),
            [
                (job.id, job.kind, job.attempt, job.worker, duration(max(0.0, job.lease_left_s)))
                for job in overview.running
            ],
        )
        click.echo()
    redis = overview.redis
    limit = "no limit" if redis.memory_limit_bytes is None else f"of {_mebibytes(redis.memory_limit_bytes)}"
    safe = "append-only file" if redis.append_only else "WITHOUT an append-only file: jobs do not survive a crash"
    click.echo(f"jobs known: {overview.jobs}, dead letters: {overview.dead_letters}")
    click.echo(f"redis: {_mebibytes(redis.memory_bytes)}, {limit}, up {duration(redis.uptime_s)}, {safe}")
    click.echo()


def _print_checks(checks: dict[str, str]) -> None:
    print_table(("CHECK", "STATE"), list(checks.items()))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
