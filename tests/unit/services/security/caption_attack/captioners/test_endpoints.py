"""Captioners behind registered endpoints: what may be registered, and a real server that is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from services.security.caption_attack.campaigns.campaign import Campaign, CampaignSettings
from services.security.caption_attack.captioners.endpoint_target import EndpointTarget
from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.caption_attack.searching.arms import ArmOptions, make_arm
from services.security.caption_attack.settings import CaptionAttackSettings
from services.security.endpoints.asking import ANSWER_LIMIT
from services.security.endpoints.registration import PICTURE
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.fleet.questions import RetryPolicy
from shared.problems import BadGateway, GatewayTimeout, ServiceUnavailable
from shared.webhooks.addresses import IPAddress
from tests.unit.services.security.caption_attack.example_captioners import (
    RegionCaptioner,
    attention_on_region,
    noise_picture,
)
from tests.unit.services.security.caption_attack.remote_captioner import Answer, RemoteCaptioner, said, serving

LOOPBACK = (ip_network("127.0.0.0/8"),)
PICTURES = [noise_picture(5, 4, seed=seed) for seed in range(4)]
QUICK = RetryPolicy(first_pause_s=0.001, longest_pause_s=0.002)
VARIABLE = "FACET_CAPTION_ENDPOINT_TEST"
JSON_REQUEST = {"kind": "json", "template": {"inputs": [{"image": f"data:image/png;base64,{PICTURE}"}], "n": 1}}


def endpoint(url: str = "https://captions.example/v1", **chosen: Any) -> CaptionEndpoint:
    registered: dict[str, Any] = {
        "name": "theirs",
        "url": url,
        "request": JSON_REQUEST,
        "caption": "/choices/0/message/content",
        "queries_per_s": 1000,
        "owner": "Captions Ltd",
        "ownership": "We run this captioner and allow tests of it.",
    }
    return CaptionEndpoint.model_validate(registered | chosen)


@contextmanager
def asking(
    answer: Callable[[NDArray[np.uint8], int], Answer], *, budget: QueryBudget | None = None, **chosen: Any
) -> Iterator[tuple[EndpointTarget, RemoteCaptioner]]:
    captioner = RemoteCaptioner(answer)
    with (
        serving(captioner) as url,
        EndpointTarget(endpoint(url, **chosen), budget or QueryBudget(100), networks=LOOPBACK, policy=QUICK) as target,
    ):
        yield target, captioner


def brightness(picture: NDArray[np.uint8], _: int) -> Answer:
    return said(f"a picture of {picture.sum()}")


EXPECTED = [f"a picture of {picture.sum()}" for picture in PICTURES]


@pytest.mark.parametrize(
    "request_made", [JSON_REQUEST, {"kind": "multipart", "file": "photo", "fields": {"beams": "3", "photo2": "x"}}]
)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_captions_come_in_order_and_pictures_arrive_exactly(request_made: Any, concurrency: int) -> None:
    with asking(brightness, request=request_made, concurrency=concurrency) as (target, captioner):
        assert target.caption(PICTURES) == EXPECTED
        assert target.caption(PICTURES[:1]) == EXPECTED[:1]
        assert len(captioner.requests) == 5
        assert captioner.requests[0][0]["host"].startswith("127.0.0.1:")


def test_a_campaign_runs_against_it() -> None:
    picture = noise_picture()
    inner = RegionCaptioner(picture)
    budget = QueryBudget(60)

    def answer(seen: NDArray[np.uint8], _: int) -> Answer:
        return said(inner.caption([seen])[0])

    options = ArmOptions(pixels=30, bound=40, seed=1, queries=60, share=0.1)
    with asking(answer, budget=budget, concurrency=4) as (target, captioner):
        arm = make_arm("A", picture=picture, attention=attention_on_region(), options=options)
        campaign = Campaign(arm, target, budget, CampaignSettings(queries=60))
        for _ in campaign.run():
            pass
        result = campaign.result()
        assert len(captioner.requests) == result.queries == result.spent == 60
        assert result.score < result.clean_score


def test_the_secret_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "s3cr3t")
    secret = {"name": "Authorization", "variable": VARIABLE, "prefix": "Bearer "}
    with asking(lambda *_: (401, {}, b""), secret=secret) as (target, captioner):
        with pytest.raises(BadGateway, match="status 401") as refused:
            target.caption(PICTURES[:1])
        assert captioner.requests[0][0]["authorization"] == "Bearer s3cr3t"
        assert "s3cr3t" not in repr(refused.value) + repr(vars(target)) + endpoint(secret=secret).model_dump_json()


@pytest.mark.parametrize("status", [429, 503, 500])
def test_further_tries_count(status: int) -> None:
    def answer(picture: NDArray[np.uint8], count: int) -> Answer:
        return (status, {"retry-after": "0"}, b"") if count <= 2 else brightness(picture, count)

    budget = QueryBudget(10)
    budget.spend(1)
    with asking(answer, budget=budget) as (target, captioner):
        assert target.caption(PICTURES[:1]) == EXPECTED[:1]
        assert len(captioner.requests) == budget.spent == 3


def test_no_try_goes_beyond_the_budget() -> None:
    budget = QueryBudget(2)
    budget.spend(1)
    with asking(lambda *_: (503, {}, b""), budget=budget, tries=9) as (target, captioner):
        with pytest.raises(BudgetExhausted):
            target.caption(PICTURES[:1])
        assert len(captioner.requests) == budget.spent == 2


def test_after_its_tries_an_endpoint_is_unavailable() -> None:
    with asking(lambda *_: (503, {}, b""), tries=2) as (target, captioner):
        with pytest.raises(ServiceUnavailable, match="theirs answered with the status 503"):
            target.caption(PICTURES[:1])
        assert len(captioner.requests) == 2


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    released = threading.Event()

    def hang(picture: NDArray[np.uint8], count: int) -> Answer:
        released.wait(5)
        return brightness(picture, count)

    with asking(hang, tries=1, timeout_s=0.1) as (target, _):
        try:
            with pytest.raises(GatewayTimeout):
                target.caption(PICTURES[:1])
        finally:
            released.set()


def test_redirects_are_not_followed() -> None:
    with asking(lambda *_: (307, {"location": "http://127.0.0.1:1/"}, b"")) as (target, captioner):
        with pytest.raises(BadGateway, match="status 307"):
            target.caption(PICTURES[:1])
        assert len(captioner.requests) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"{}", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}', b"\xff"],
)
def test_answers_without_a_caption_are_the_endpoints_fault(content: bytes) -> None:
    with (
        asking(lambda *_: (200, {}, content)) as (target, _),
        pytest.raises(BadGateway, match="has no caption"),
    ):
        target.caption(PICTURES[:1])


def test_endless_answers_are_not_read_to_their_end() -> None:
    with (
        asking(lambda *_: (200, {}, b" " * (ANSWER_LIMIT + 1))) as (target, _),
        pytest.raises(BadGateway, match="more than"),
    ):
        target.caption(PICTURES[:1])


def test_the_rate_is_kept() -> None:
    with asking(brightness, queries_per_s=40, concurrency=4) as (target, captioner):
        began_s = time.monotonic()
        target.caption(PICTURES)
        assert max(captioner.at_s) - began_s >= 3 / 40  # from the beginning: the first may arrive late, none early


def test_so_many_are_under_way_and_no_more() -> None:
    together = threading.Barrier(2)

    def answer(picture: NDArray[np.uint8], count: int) -> Answer:
        together.wait(5)
        return brightness(picture, count)

    with asking(answer, concurrency=2) as (target, captioner):
        assert target.caption(PICTURES) == EXPECTED
        assert captioner.most_under_way == 2


class Names:
    """A resolver that is told where a name is."""

    def __init__(self, address: str) -> None:
        self._address = ip_address(address)

    async def __call__(self, host: str) -> list[IPAddress]:
        return [self._address]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1"])
def test_inner_addresses_are_not_reached(address: str) -> None:
    with (
        EndpointTarget(endpoint(), QueryBudget(9), resolve=Names(address)) as target,
        pytest.raises(BadGateway, match="may not be asked"),
    ):
        target.caption(PICTURES[:1])


@pytest.mark.parametrize(
    "url", ["http://captions.example/", "ftp://captions.example/", "https://u:p@captions.example/", "captions", ""]
)
def test_urls_that_are_not_allowed_are_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is not allowed"):
        EndpointTarget(endpoint(url), QueryBudget(9))


@pytest.mark.parametrize("secret", [None, "", "two\r\nlines", "ünicode"])
def test_a_secret_must_be_there(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if secret is not None:
        monkeypatch.setenv(VARIABLE, secret)
    with pytest.raises(ValueError, match=VARIABLE):
        EndpointTarget(endpoint(secret={"variable": VARIABLE}), QueryBudget(9))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"request": {"kind": "json", "template": {"image": "none"}}}, "no string of the template"),
        ({"request": {"kind": "form"}}, "does not match any of the expected tags"),
        ({"caption": "choices"}, "JSON pointer"),
        ({"caption": "/a~2"}, "JSON pointer"),
        ({"ownership": "x" * 40}, "who allows the test"),
        ({"ownership": "ours"}, "at least 20"),
        ({"owner": "   "}, "who allows the test"),
        ({"name": "Not A Name"}, "pattern"),
        ({"secret": {"variable": "FACET_FLEET_TOKEN"}}, "pattern"),
        ({"secret": {"variable": VARIABLE, "name": "Host"}}, "set by Facet"),
        ({"secret": {"variable": VARIABLE, "prefix": "a\r\nb"}}, "pattern"),
        ({"queries_per_s": 0}, "greater than 0"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_registrations_that_are_not_sound_are_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        endpoint(**wrong)


def test_endpoints_are_registered_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = [endpoint().model_dump(mode="json"), endpoint(name="others").model_dump(mode="json")]
    monkeypatch.setenv("FACET_CAPTION_ATTACK_ENDPOINTS", orjson.dumps(registered).decode())
    monkeypatch.setenv("FACET_CAPTION_ATTACK_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")
    settings = CaptionAttackSettings()
    assert settings.endpoint("theirs") == endpoint()
    assert settings.allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    with pytest.raises(KeyError):
        settings.endpoint("unknown")
    monkeypatch.setenv("FACET_CAPTION_ATTACK_ENDPOINTS", orjson.dumps(registered[:1] * 2).decode())
    with pytest.raises(ValidationError, match="same name"):
        CaptionAttackSettings()


@pytest.mark.parametrize(
    ("pointer", "document"),
    [
        ("", "a dog"),
        ("/0", ["a dog"]),
        ("/a~1b/~0", {"a/b": {"~": "a dog"}}),
        ("//0", {"": {"0": "a dog"}}),
    ],
)
def test_pointers_are_those_of_rfc_6901(pointer: str, document: Any) -> None:
    assert endpoint(caption=pointer).read_caption(orjson.dumps(document)) == "a dog"


@pytest.mark.parametrize("pointer", ["/00", "/-1", "/1", "/-", "/0/0", "/x"])
def test_pointers_to_nothing_find_nothing(pointer: str) -> None:
    with pytest.raises(ValueError, match="no text"):
        endpoint(caption=pointer).read_caption(b'["a dog"]')
