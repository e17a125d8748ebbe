"""Which service has which model: asked seldom, remembered, and never wrong for long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.upstream import model_locator as module
from gateway.upstream.model_locator import ModelLocator
from gateway.upstream.services import Upstreams
from shared.problems import NotFound, ServiceUnavailable
from shared.settings import DOMAINS
from tests.support.wires import HttpxWire
from tests.unit.gateway.stubs import FleetTransport, settings

MODELS = "/v1/models"


def listing(*names: str) -> dict[str, Any]:
    return {"models": [{"name": name} for name in names]}


def fleet(**models: Iterable[str]) -> FleetTransport:
    """Every service answers; those named have models."""
    return FleetTransport({(domain, MODELS): listing(*models.get(domain, ())) for domain in DOMAINS})


def locator_of(transport: FleetTransport) -> ModelLocator:
    return ModelLocator(Upstreams(settings(), wire=HttpxWire(transport)))


class Clock:
    """Time as the locator reads it, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


async def test_a_model_is_found_and_its_service_asked_once(clock: Clock) -> None:
    transport = fleet(perception=["signs"], medical=["ct"])
    locator = locator_of(transport)
    assert locator.cached("signs") is None
    for _ in range(5):
        clock.now += 100
        assert await locator.domain_of("signs") == "perception"
        assert await locator.domain_of("ct") == "medical"
    assert locator.cached("signs") == "perception"
    assert sorted(transport.asked) == sorted((domain, MODELS) for domain in DOMAINS)


async def test_unknown_names_ask_at_most_once_a_second(clock: Clock) -> None:
    transport = fleet(perception=["signs"])
    locator = locator_of(transport)
    for tenth in range(31):
        clock.now = 1000 + tenth / 10
        with pytest.raises(NotFound, match="Models here: signs"):
            await locator.domain_of(f"nobody {tenth}")
    assert len(transport.asked) == 4 * len(DOMAINS)  # in the seconds 0, 1, 2 and 3


async def test_many_at_once_ask_once(clock: Clock) -> None:
    transport = fleet(perception=["signs"])
    locator = locator_of(transport)
    found = await asyncio.gather(*(locator.domain_of("signs") for _ in range(50)))
    assert set(found) == {"perception"}
    assert len(transport.asked) == len(DOMAINS)


async def test_a_new_model_is_found_after_a_second(clock: Clock) -> None:
    transport = fleet()
    locator = locator_of(transport)
    with pytest.raises(NotFound, match="Models here: none"):
        await locator.domain_of("signs")
    transport.documents["perception", MODELS] = listing("signs")
    clock.now += 0.9
    with pytest.raises(NotFound):
        await locator.domain_of("signs")
    clock.now += 0.2
    assert await locator.domain_of("signs") == "perception"


async def test_a_model_that_moved_is_found_again_when_its_service_denies_it(clock: Clock) -> None:
    transport = fleet(perception=["signs"])
    locator = locator_of(transport)
    await locator.domain_of("signs")
    transport.documents["perception", MODELS] = listing()
    transport.documents["security", MODELS] = listing("signs")
    clock.now += 60
    assert await locator.domain_of("signs") == "perception"  # until the service says 404
    locator.invalidate("signs")
    assert locator.cached("signs") is None
    assert await locator.domain_of("signs") == "security"
    assert locator.cached("signs") == "security"


async def test_a_model_that_is_gone_is_not_found(clock: Clock) -> None:
    transport = fleet(perception=["signs"])
    locator = locator_of(transport)
    await locator.domain_of("signs")
    transport.documents["perception", MODELS] = listing()
    clock.now += 60
    locator.invalidate("signs")
    with pytest.raises(NotFound):
        await locator.domain_of("signs")


async def test_doubts_hide_no_model_and_ask_at_most_once_a_second(clock: Clock) -> None:
    """A 404 may be about a version; everybody else goes on using the model meanwhile."""
    transport = fleet(perception=["signs"])
    locator = locator_of(transport)
    for tenth in range(31):
        clock.now = 1000 + tenth / 10
        assert await locator.domain_of("signs") == "perception"
        locator.invalidate("signs")
        locator.invalidate("a name that nobody has")
    assert len(transport.asked) == 4 * len(DOMAINS)
    assert locator._invalidated == {"signs"}


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), b"no JSON", [], {"models": 5}, {"models": [5]}]
)
async def test_a_silent_service_is_named_and_keeps_what_is_known_of_it(clock: Clock, answer: Any) -> None:
    transport = fleet(perception=["signs"], medical=["ct"])
    locator = locator_of(transport)
    await locator.domain_of("signs")
    transport.documents["perception", MODELS] = answer
    clock.now += 2
    with pytest.raises(ServiceUnavailable, match="Not answering at present: perception") as caught:
        await locator.domain_of("nobody")
    assert caught.value.headers["Retry-After"] == "2"
    assert await locator.domain_of("signs") == "perception"
    assert await locator.domain_of("ct") == "medical"


async def test_a_wrong_version_hides_the_model_from_nobody() -> None:
    """Through the routes: the next request reaches the service although the last was answered with 404."""
    transport = fleet(perception=["signs"])
    transport.documents["perception", "/v2/models/signs"] = {"name": "signs"}
    app = create_app(settings(), wire=HttpxWire(transport))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost") as client:
        assert (await client.get("/v2/models/signs")).json() == {"name": "signs"}
        transport.statuses["perception"] = 404
        assert (await client.get("/v2/models/signs")).status_code == 404
        transport.statuses.clear()
        assert (await client.get("/v2/models/signs")).status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/a%2Fb", "/v2/models/%2e%2e", "/v2/models//infer"])
async def test_names_that_are_none_ask_nobody(path: str) -> None:
    transport = fleet()
    app = create_app(settings(), wire=HttpxWire(transport))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost") as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]
