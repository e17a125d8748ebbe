"""Attacks on a captioner elsewhere: registered by the operator alone, guided by one of the fleet, put on record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import orjson
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from services.security.caption_attack.capability import ENDPOINTS_PATH, PATH
from shared.access.audit import AUDIT_NOTE_HEADER
from shared.jobs.records import JobStatus
from tests.integration.caption_attack.conftest import PICTURES
from tests.support.caption_attacks import AttackBench
from tests.unit.services.security.caption_attack.remote_captioner import Answer, RemoteCaptioner, said, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNERSHIP = "We run this captioner and allow tests of it \u2014 signed."
VARIABLE = "FACET_CAPTION_ENDPOINT_THEIRS"


Respond = Callable[[NDArray[np.uint8], int], Answer]


@dataclass
class Elsewhere:
    """A captioner of somebody else that the operator has registered; each test says how it answers."""

    captioner: RemoteCaptioner
    respond: Respond
    before: int = 0

    def begin(self, respond: Respond) -> None:
        self.respond, self.before = respond, len(self.captioner.requests)

    @property
    def asked(self) -> int:
        """Pictures of this test."""
        return len(self.captioner.requests) - self.before


def by_brightness(picture: NDArray[np.uint8], _: int) -> Answer:
    return said(f"a picture of {'light' if int(picture.astype(int).sum()) % 2 else 'shade'} and trees")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def elsewhere(bench: AttackBench) -> AsyncIterator[Elsewhere]:
    """The captioner, registered in the environment of the service and of a worker."""

    def respond(picture: NDArray[np.uint8], count: int) -> Answer:
        return found.respond(picture, count)

    found = Elsewhere(RemoteCaptioner(respond), by_brightness)
    with serving(found.captioner) as url, pytest.MonkeyPatch.context() as environment:
        endpoint = {
            "name": "theirs",
            "url": url,
            "request": {"kind": "json", "template": {"inputs": [{"image": "data:image/png;base64,{{picture}}"}]}},
            "caption": "/choices/0/message/content",
            "secret": {"variable": VARIABLE, "prefix": "Bearer "},
            "queries_per_s": 1000,
            "concurrency": 4,
            "timeout_s": 50,
            "owner": "Captions Ltd",
            "ownership": OWNERSHIP,
            "tries": 1,
        }
        environment.setenv("FACET_CAPTION_ATTACK_ENDPOINTS", orjson.dumps([endpoint]).decode())
        environment.setenv("FACET_CAPTION_ATTACK_ALLOWED_NETWORKS", "127.0.0.0/8")
        environment.setenv(VARIABLE, "their secret")
        with bench.worker():
            await bench.until_attended()
            yield found


async def test_an_endpoint_is_attacked_with_the_attention_of_a_captioner_of_the_fleet(
    bench: AttackBench, elsewhere: Elsewhere
) -> None:
    elsewhere.begin(by_brightness)
    guided_before = bench.captioner.pictures
    listed = (await bench.client.get(ENDPOINTS_PATH)).json()["endpoints"]
    assert [(one["name"], one["ownership"]) for one in listed] == [("theirs", OWNERSHIP)]
    answer = await bench.send(PICTURES[0], endpoint="theirs", queries="40", arms="A,C", goal="caption_differs")
    assert answer.status_code == 202, answer.text
    note = unquote(answer.headers[AUDIT_NOTE_HEADER])
    assert note == f"test of the captioner theirs, owned by Captions Ltd: {OWNERSHIP}"
    result = await bench.result(answer.json()["id"])
    report = result["report"]
    assert elsewhere.asked == report["spent"] <= report["budget"], "counted by whoever was asked"
    assert bench.captioner.pictures - guided_before == 1, "one question to the guide"
    assert {headers["authorization"] for headers, _ in elsewhere.captioner.requests} == {"Bearer their secret"}
    assert "their secret" not in str(result) + bench.file(result, "report.html").decode()
    assert report["target"]["owner"] == "Captions Ltd"
    assert report["target"]["guide"]["name"] == "tiny-lstm"
    assert [run["guided"] for run in report["runs"]] == [True, False]
    assert all(run["success"] for run in report["runs"])


async def test_an_endpoint_that_breaks_leaves_a_report_of_what_was_found(
    bench: AttackBench, elsewhere: Elsewhere
) -> None:
    def breaking(picture: NDArray[np.uint8], count: int) -> Answer:
        return by_brightness(picture, count) if elsewhere.asked <= 60 else (500, {}, b"")

    elsewhere.begin(breaking)
    form = {"endpoint": "theirs", "queries": "200", "arms": "C", "stop_at_goal": "false"}
    report = (await bench.result(await bench.post(PICTURES[0], **form)))["report"]
    assert not report["complete"]
    assert "status 500" in report["stopped"]
    assert report["runs"][0]["queries"] > 0
    assert elsewhere.asked <= report["spent"] <= elsewhere.asked + 3, "what was broken off before it was sent counts"


async def test_a_cancel_does_not_wait_for_an_endpoint_that_does_not_answer(
    bench: AttackBench, elsewhere: Elsewhere
) -> None:
    released, asked = threading.Event(), threading.Event()

    def silent(picture: NDArray[np.uint8], count: int) -> Answer:
        if elsewhere.asked > 20:
            asked.set()
            released.wait(60)
        return by_brightness(picture, count)

    elsewhere.begin(silent)
    try:
        form = {"endpoint": "theirs", "queries": "200", "arms": "C", "stop_at_goal": "false"}
        job_id = await bench.post(PICTURES[0], **form)
        assert await asyncio.to_thread(asked.wait, 60)
        await bench.jobs.request_cancel(job_id)
        record = await bench.jobs.wait(job_id, seconds=20)
    finally:
        released.set()
    assert record.status is JobStatus.CANCELLED
    assert record.result is not None


async def test_nobody_but_the_operator_says_who_may_be_attacked(bench: AttackBench) -> None:
    answer = await bench.send(PICTURES[0], endpoint="https://captions.example/v1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/body/endpoint"
    assert "not registered by the operator" in answer.json()["detail"]
    answer = await bench.client.post(PATH, data={"endpoint": "theirs"})
    assert answer.status_code == 422
