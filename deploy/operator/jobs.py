"""`facet jobs`: everybody's jobs, as the operator sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import click

from deploy.operator.connection import find_settings
from deploy.operator.output import Failure, age, as_json, duration, exit_code, print_json, print_table, run
from shared.jobs.answers import JobView
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.store import PAGE_LIMIT, JobStore, open_job_store
from shared.problems import Problem

Answer = TypeVar("Answer")

_IDS = click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print the ids only.")
_LIMIT = click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most jobs to print.")


@click.group()
def jobs() -> None:
    """Jobs: list, show, cancel, retry, dead letters."""


@jobs.command("list")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only jobs in this status.")
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--owner", help="Only this caller's jobs.")
@_LIMIT
@_QUIET
@as_json
def list_jobs(
    *, status: str | None, kind: str | None, owner: str | None, limit: int, quiet: bool, as_json: bool
) -> None:
    """List jobs, newest first."""

    async def read(store: JobStore) -> list[JobRecord]:
        found: list[JobRecord] = []
        cursor = None
        while len(found) < limit:
            page = await store.list_jobs(
                owner=owner,
                status=JobStatus(status) if status else None,
                kind=kind,
                cursor=cursor,
                limit=min(limit - len(found), PAGE_LIMIT),
            )
            found += page.records
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    _print(_ask(read), quiet=quiet, as_json=as_json)


@jobs.command("dead-letters")
@_LIMIT
@_QUIET
@as_json
def dead_letters(*, limit: int, quiet: bool, as_json: bool) -> None:
    """List jobs that were given up: too many lost workers, or killed by the time limit.

    To try all of them again: facet jobs retry $(facet jobs dead-letters -q)
    """
    _print(_ask(lambda store: store.dead_letters(limit=limit)), quiet=quiet, as_json=as_json)


@jobs.command()
@click.argument("job_id", metavar="ID")
@as_json
def show(*, job_id: str, as_json: bool) -> None:
    """Show everything that is known of a job."""
    record = _ask(lambda store: store.get(job_id))
    if as_json:
        print_json(_document(record))
        return
    for name, value in _document(record).items():
        if value not in (None, {}, "", False):
            click.echo(f"{name:<17} {value}")


@jobs.command()
@_IDS
@as_json
def cancel(*, job_ids: Sequence[str], as_json: bool) -> None:
    """Cancel jobs: queued ones at once, running ones at their next step."""
    _each(job_ids, lambda store, job_id: store.request_cancel(job_id), as_json=as_json)


@jobs.command()
@_IDS
@as_json
def retry(*, job_ids: Sequence[str], as_json: bool) -> None:
    """Give jobs that failed, expired or were cancelled a further attempt, from their last checkpoint."""
    _each(job_ids, lambda store, job_id: store.retry(job_id), as_json=as_json)


def _store() -> AbstractAsyncContextManager[JobStore]:
    return open_job_store(find_settings())


def _ask(question: Callable[[JobStore], Awaitable[Answer]]) -> Answer:
    async def work() -> Answer:
        async with _store() as store:
            return await question(store)

    return run(work)


def _each(job_ids: Sequence[str], change: Callable[[JobStore, str], Awaitable[JobRecord]], *, as_json: bool) -> None:
    """Change one job after the other; what fails for one does not keep the rest from it."""

    async def work() -> tuple[list[JobRecord], list[tuple[str, Problem]]]:
        changed: list[JobRecord] = []
        failed: list[tuple[str, Problem]] = []
        async with _store() as store:
            await store.ping()
            for job_id in job_ids:
                try:
                    changed.append(await change(store, job_id))
                except Problem as problem:
                    failed.append((job_id, problem))
        return changed, failed

    changed, failed = run(work)
    _print(changed, quiet=False, as_json=as_json)
    if failed:
        lines = "\n".join(f"{job_id}: {problem.detail}" for job_id, problem in failed)
        raise Failure(lines, code=exit_code(failed[0][1]))


def _print(records: Sequence[JobRecord], *, quiet: bool, as_json: bool) -> None:
    if as_json:
        print_json([_document(record) for record in records])
    elif quiet:
        for record in records:
            click.echo(record.id)
    elif records:
        print_table(
            ("ID", "KIND", "OWNER", "STATUS", "PROGRESS", "AGE", "ETA", "ATTEMPT", "WHY"), [*map(_row, records)]
        )
    else:
        click.echo("No jobs.", err=True)


def _row(record: JobRecord) -> tuple[object, ...]:
    progress = record.progress
    done = f"{progress.step}/{progress.total}" if progress.total else str(progress.step or "-")
    stopping = record.cancel_requested and not record.status.is_final
    status = "cancelling" if stopping else record.status.value
    why = record.dead or (record.problem or {}).get("title") or "-"
    eta = duration(record.eta_s)
    return record.id, record.kind, record.owner, status, done, age(record.created_at), eta, record.attempt, why


def _document(record: JobRecord) -> dict[str, Any]:
    """The public view and, beside it, what only operators see."""
    view = JobView.of(record).model_dump(mode="json")
    own = ("owner", "queue", "worker", "lost_workers", "dead", "checkpoint", "request_id", "arguments")
    return view | {name: getattr(record, name) for name in own}
