"""What an attack does not take: every field says what to do, and estimates are refused alike."""

from __future__ import annotations

from typing import Any

import pytest

from services.security.caption_attack.capability import PATH
from tests.integration.caption_attack.conftest import PICTURES
from tests.support.caption_attacks import AttackBench

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("form", "pointer", "advice"),
    [
        ({"arms": "A,Z"}, "/body/arms", "'Z' is no arm"),
        ({"arms": ","}, "/body/arms", "is no arm"),
        ({"defences": "hope"}, "/body/defences", "is no defence"),
        ({"goal": "target_word"}, "/body", "come together"),
        ({"target": "dog"}, "/body", "come together"),
        ({"goal": "target_word", "target": "two words"}, "/body", "one word"),
        ({"model": "a", "endpoint": "b"}, "/body", "not both"),
        ({"guide": "a"}, "/body", "for an `endpoint`"),
        ({"pixels_percent": "nan"}, "/body/pixels_percent", ""),
        ({"pixels_percent": "0"}, "/body/pixels_percent", "greater than 0"),
        ({"bound": "256"}, "/body/bound", "255"),
        ({"queries": "many"}, "/body/queries", "integer"),
        ({"longest_side": "4"}, "/body/longest_side", "16"),
        ({"seeds": "20", "arms": "A,B,C,D,E,F,G,H,I,K,L,M,N,O,P,A"}, None, ""),
        ({"colour": "red"}, "/body/colour", ""),
    ],
)
async def test_a_field_that_does_not_fit_is_named(
    bench: AttackBench, form: dict[str, str], pointer: str | None, advice: str
) -> None:
    answer = await bench.send(PICTURES[0], path=f"{PATH}/estimates", **form)
    if pointer is None:
        assert answer.status_code == 200, answer.text
        assert answer.json()["runs"] == 300
        return
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert advice in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 422), (b"GIF89a", 415), (PICTURES[0][:200], 422), (b"no picture at all", 415)]
)
async def test_a_picture_that_cannot_be_read_is_named(bench: AttackBench, content: bytes, status: int) -> None:
    answer = await bench.send(PICTURES[0], content)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/body/file/1"


async def test_an_attack_that_is_too_large_is_refused_before_anything_is_asked(bench: AttackBench) -> None:
    before = bench.captioner.pictures
    form = {"queries": "100000", "arms": "A,C,D"}
    estimate = (await bench.send(PICTURES[0], path=f"{PATH}/estimates", **form)).json()
    assert not estimate["accepted"]
    assert estimate["queries"] > estimate["queries_limit"]
    answer = await bench.send(PICTURES[0], **form)
    assert answer.status_code == 422
    assert answer.json()["detail"] == estimate["advice"]
    assert bench.captioner.pictures == before


async def test_an_estimate_adds_up(bench: AttackBench) -> None:
    form = {"queries": "100", "arms": "A,C", "seeds": "3", "defences": "jpeg_75", "probes": "2"}
    cost = (await bench.send(*PICTURES[:2], path=f"{PATH}/estimates", **form)).json()
    parts = {part["purpose"]: part["queries"] for part in cost["parts"]}
    assert parts == {"probes": 4, "attention": 2, "searches": 1200, "defences": 24}
    assert cost["queries"] == sum(parts.values()) == cost["budget"]
    assert cost["accepted"]
    assert cost["seconds_at_least"] is None
