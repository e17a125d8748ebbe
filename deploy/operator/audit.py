"""`facet audit`: who ran what on which digest."""

from __future__ import annotations

from dataclasses import asdict

import click

from deploy.operator.connection import find_settings
from deploy.operator.output import as_json, print_json, print_table, run
from shared.access.audit import AuditLog, Recorded
from shared.jobs.connection import api_client

_PAGE = 500


@click.command()
@click.option("--caller", help="Only this caller's.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most entries to print.")
@as_json
def audit(*, caller: str | None, limit: int, as_json: bool) -> None:
    """Print the newest entries of the audit log."""
    found = run(lambda: _read(caller, limit))
    if as_json:
        print_json([{"id": row.id, "time": row.time, **asdict(row.entry)} for row in found])
        return
    rows = [
        (row.time.isoformat(timespec="seconds"), row.entry.caller, row.entry.status, row.entry.method, row.entry.path,
         row.entry.digest[:19], row.entry.job)
        for row in found
    ]  # fmt: skip
    print_table(("TIME", "CALLER", "STATUS", "METHOD", "PATH", "DIGEST", "JOB"), rows)


async def _read(caller: str | None, limit: int) -> list[Recorded]:
    settings = find_settings()
    redis = api_client(settings.redis_url)
    log, cursor = AuditLog(redis, kept=settings.audit_entries), None
    found: list[Recorded] = []
    try:
        while len(found) < limit:
            page, cursor = await log.page(cursor=cursor, limit=_PAGE)
            found += [row for row in page if caller in {None, row.entry.caller}]
            if cursor is None:
                break
    finally:
        await redis.aclose()
    return found[:limit]
