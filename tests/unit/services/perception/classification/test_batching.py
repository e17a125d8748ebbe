"""Requests that come at once go through one batcher, and each gets its own answer."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from tests.unit.services.perception.classification.conftest import plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/perception/classifications"


def rows(metrics: str) -> float:
    """How many rows the model was run on."""
    found = re.search(r'facet_batch_rows_sum{model="traffic-signs",version="1.0.0"} (\S+)', metrics)
    return float(found[1]) if found else 0.0


async def test_everybody_gets_his_own_answer_and_every_row_is_counted(client: httpx.AsyncClient) -> None:
    before = rows((await client.get("/metrics")).text)
    colours = [(10 * index, 255 - 7 * index, 90) for index in range(24)]
    alone = [
        (await client.post(ROUTE, files={"file": plain(*colour)}, data={"top": "1"})).json()["classifications"]
        for colour in colours
    ]
    together = await asyncio.gather(
        *(client.post(ROUTE, files={"file": plain(*colour)}, data={"top": "1"}) for colour in colours)
    )
    assert [answer.status_code for answer in together] == [200] * 24
    for one, answer in zip(alone, together, strict=True):
        assert answer.json()["classifications"][0]["top"][0]["class_id"] == one[0]["top"][0]["class_id"]
        assert answer.json()["classifications"][0]["top"][0]["probability"] == pytest.approx(
            one[0]["top"][0]["probability"], rel=1e-4
        )
    after = rows((await client.get("/metrics")).text)
    assert after - before == 48
    assert "queue;dur=" in together[-1].headers["Server-Timing"]
    assert "infer;dur=" in together[-1].headers["Server-Timing"]
