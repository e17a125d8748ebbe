"""`facet keys`: who may use the fleet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import click

from deploy.operator.connection import find_settings
from deploy.operator.output import Failure, age, as_json, print_json, print_table, run
from services.declarations import declared_capabilities
from shared.access.keys import ApiKey, KeyStore, Limits
from shared.access.scopes import AccessPolicy
from shared.jobs.connection import api_client

Answer = TypeVar("Answer")

_SCOPE = click.option(
    "--scope", "scopes", multiple=True, required=True, help="What it may do; repeat it. See: facet keys scopes"
)


@click.group()
def keys() -> None:
    """API keys: create, list, show, rotate, revoke. They are asked for where FACET_API_KEYS=true."""


@keys.command()
@click.option("--owner", required=True, help="Whose it is; keys of one owner share jobs, webhooks and quotas.")
@_SCOPE
@click.option("--note", default="", help="What it is for.")
@click.option("--days", type=click.IntRange(min=1), help="Days until it expires; never by default.")
@click.option("--requests-per-minute", type=click.IntRange(min=1), help="Instead of the fleet's setting.")
@click.option("--bytes-per-minute", type=click.IntRange(min=1), help="Instead of the fleet's setting.")
@click.option("--jobs", type=click.IntRange(min=1), help="Unfinished jobs at once, instead of the fleet's setting.")
@as_json
def create(
    *,
    owner: str,
    scopes: tuple[str, ...],
    note: str,
    days: int | None,
    requests_per_minute: int | None,
    bytes_per_minute: int | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Make a key and print it: nobody can read it again."""
    _check_scopes(scopes)
    limits = Limits(requests_per_minute=requests_per_minute, bytes_per_minute=bytes_per_minute, jobs=jobs)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    made = _ask(lambda store: store.create(owner, scopes, note=note, limits=limits, expires_at=expires_at))
    _print_new(*made, as_json=as_json)


@keys.command("list")
@click.option("--owner", help="Only this owner's.")
@as_json
def list_keys(*, owner: str | None, as_json: bool) -> None:
    """List keys, oldest first."""
    found = _ask(lambda store: store.list_keys(owner=owner))
    if as_json:
        print_json([_view(key) for key in found])
        return
    rows = [(key.id, key.owner, " ".join(key.scopes), age(key.created_at), _state(key), key.note) for key in found]
    print_table(("ID", "OWNER", "SCOPES", "AGE", "STATE", "NOTE"), rows)


@keys.command()
@click.argument("key_id", metavar="ID")
def show(*, key_id: str) -> None:
    """Show what is known of a key."""
    print_json(_view(_ask(lambda store: store.get(key_id))))


@keys.command()
@click.argument("key_ids", metavar="ID...", nargs=-1, required=True)
def revoke(*, key_ids: tuple[str, ...]) -> None:
    """Make keys worthless; gateways refuse them within seconds."""
    for key_id in key_ids:
        key = _ask(partial(_revoke, key_id))
        click.echo(f"{key.id} of {key.owner} is revoked")


@keys.command()
@click.argument("key_id", metavar="ID")
@as_json
def rotate(*, key_id: str, as_json: bool) -> None:
    """Make a key that may do what another may. Revoke the old one when the new one is in use."""

    async def work(store: KeyStore) -> tuple[str, ApiKey]:
        old = await store.get(key_id)
        return await store.create(old.owner, old.scopes, note=old.note, limits=old.limits, expires_at=old.expires_at)

    _print_new(*_ask(work), as_json=as_json)


@keys.command()
def scopes() -> None:
    """List the scopes that a key may have."""
    print_table(("SCOPE", "ALLOWS TO"), list(_access().scopes.items()))


def _access() -> AccessPolicy:
    return AccessPolicy(declared_capabilities())


def _check_scopes(scopes: tuple[str, ...]) -> None:
    try:
        _access().check_scopes(scopes)
    except ValueError as error:
        raise Failure(str(error), code=2) from None


async def _revoke(key_id: str, store: KeyStore) -> ApiKey:
    return await store.revoke(key_id)


def _ask(work: Callable[[KeyStore], Awaitable[Answer]]) -> Answer:
    async def asked() -> Answer:
        redis = api_client(find_settings().redis_url)
        try:
            return await work(KeyStore(redis))
        except ValueError as error:
            raise Failure(str(error), code=2) from None
        finally:
            await redis.aclose()

    return run(asked)


def _print_new(text: str, key: ApiKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": text, **_view(key)})
        return
    click.echo(text)
    click.echo(f"Key {key.id} of {key.owner}. It is not shown again.", err=True)


def _state(key: ApiKey) -> str:
    return key.fault(datetime.now(UTC)) or "good"


def _view(key: ApiKey) -> dict[str, Any]:
    limits = {name: getattr(key.limits, name) for name in ("requests_per_minute", "bytes_per_minute", "jobs")}
    shown = ("id", "owner", "scopes", "note", "created_at", "expires_at", "revoked_at")
    return {name: getattr(key, name) for name in shown} | {"limits": limits, "state": _state(key)}
