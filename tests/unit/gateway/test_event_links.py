from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from gateway.access.event_links import EventLinks
from shared.problems import Unauthorized
from shared.settings import Settings

JOB = "019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"
EVENTS = f"/v1/jobs/{JOB}/events"


class Clock:
    def __init__(self) -> None:
        self.now = 1_754_300_000.0

    def __call__(self) -> float:
        return self.now


def links(token: str | None = "between us", *, clock: Clock | None = None) -> EventLinks:
    secret = SecretStr(token) if token else None
    return EventLinks(Settings(_env_file=None, fleet_token=secret), clock=clock or Clock())


def made(by: EventLinks, *, owner: str = "ada") -> bytes:
    parts = urlsplit(by.make(JOB, owner=owner).path)
    assert parts.path == EVENTS
    return parts.query.encode()


@pytest.mark.parametrize("owner", ["ada", "anonymous", "a.b-c_d", "x" * 64])
def test_a_link_opens_the_events_of_its_job_as_its_owner(owner: str) -> None:
    query = made(links(), owner=owner)
    assert links().verify(EVENTS, query) == owner
    assert links().verify(EVENTS, b"last_event_id=1-0&" + query) == owner


def test_it_holds_for_a_minute_however_often_it_is_opened() -> None:
    clock = Clock()
    ours = links(clock=clock)
    link = ours.make(JOB, owner="ada")
    query = urlsplit(link.path).query.encode()
    assert link.expires_at == clock.now + 60
    for _ in range(3):
        clock.now += 20
        assert ours.verify(EVENTS, query) == "ada"
    clock.now += 1
    assert ours.verify(EVENTS, query) is None


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/jobs/{JOB}", f"/v1/jobs/{JOB}/result", f"/v1/jobs/{JOB}/events/", f"/v1/jobs/{JOB}/events/links",
        "/v1/jobs",
        f"/v1/jobs/{JOB[:-1]}f/events", f"/v1/jobs/{JOB}\n/events", "/v1/jobs//events", f"/x/v1/jobs/{JOB}/events",
    ],
)  # fmt: skip
def test_it_opens_nothing_else(path: str) -> None:
    assert links().verify(path, made(links())) is None


def test_a_changed_link_opens_nothing() -> None:
    query = made(links())
    expires, owner, mac = query.removeprefix(b"link=").split(b".")
    changed = [
        b"link=" + b".".join(parts)
        for parts in (
            [b"9999999999", owner, mac], [expires, b"ZXZl", mac], [expires, owner, mac[:-1]],
            [expires, owner, b"A" * 43],
            [expires, owner], [b"-1", owner, mac], [expires, owner, mac, b""],
        )
    ]  # fmt: skip
    for other in (*changed, b"", b"link=", b"other=" + query, query + b"&" + query, b"link=%ff", query.upper()):
        assert links().verify(EVENTS, other) is None


def test_only_fleets_of_one_token_know_each_others_links() -> None:
    assert links("other").verify(EVENTS, made(links())) is None
    alone = links(None)
    assert alone.verify(EVENTS, made(alone)) == "ada"
    assert links(None).verify(EVENTS, made(alone)) is None


def test_the_policy_is_told_whose_it_is_and_why_not() -> None:
    query = made(links())
    scope = {"method": "GET", "path": EVENTS, "query_string": query}
    assert links().owner_of(scope) == "ada"
    assert links().owner_of(scope | {"method": "HEAD"}) == "ada"
    assert links().owner_of(scope | {"method": "POST"}) is None
    assert links().owner_of(scope | {"path": "/v1/jobs"}) is None
    assert links().owner_of(scope | {"query_string": b"last_event_id=1-0"}) is None
    with pytest.raises(Unauthorized, match="events/links"):
        links("other").owner_of(scope)
