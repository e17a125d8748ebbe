"""Uploads, versions, aliases and canaries through the gateway, on two replicas that come to the same state."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from services.perception.app import create_app as create_perception
from tests.integration.gateway.servers import serve
from tests.integration.models.conftest import Bench, ask, factor
from tests.support.own_models import endless, form, own_card, scale
from tests.support.serving import fleet_headers


async def test_an_uploaded_model_answers_on_every_replica(bench: Bench) -> None:
    answer = await bench.upload(2)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == "/v1/models/scale/versions/1.0.0"
    shown = answer.json()
    assert (shown["state"], shown["origin"], shown["domain"]) == ("ready", "uploaded", "perception")
    assert shown["not_measured"] == ["paper", "training", "quality", "parity", "latency"]
    for client in (bench.gateway, *bench.replicas):
        assert await factor(client) == ("1.0.0", 2.0)
    again = await bench.upload(2)
    assert again.status_code == 200
    other = await bench.upload(3)
    assert (other.status_code, "another file" in other.json()["detail"]) == (409, True)


async def test_versions_aliases_and_rollback(bench: Bench) -> None:
    for version, value in (("1.0.0", 2), ("1.10.0", 4), ("1.9.0", 3)):
        assert (await bench.upload(value, version)).status_code == 201
    assert await factor(bench.gateway) == ("1.10.0", 4.0)
    assert await factor(bench.gateway, version="1.9.0") == ("1.9.0", 3.0)
    put = await bench.gateway.put("/v1/models/scale/aliases/default", json={"version": "1.0.0"})
    assert (put.status_code, put.json()) == (200, {"version": "1.0.0"})
    assert (await bench.gateway.put("/v1/models/scale/aliases/tried", json={"version": "1.9.0"})).status_code == 200
    for client in (bench.gateway, *bench.replicas):
        assert await factor(client) == ("1.0.0", 2.0)
        assert await factor(client, version="tried") == ("1.9.0", 3.0)
    shown = (await bench.gateway.get("/v1/models/scale")).json()
    assert (shown["version"], shown["all_aliases"]) == ("1.0.0", {"default": "1.0.0", "tried": "1.9.0"})
    assert [one["version"] for one in shown["versions"]] == ["1.0.0", "1.9.0", "1.10.0"]
    assert (await bench.gateway.get("/v1/models/scale/aliases/tried")).json() == {"version": "1.9.0"}
    assert (await bench.gateway.get("/v1/models/scale/versions/tried")).json()["version"] == "1.9.0"
    assert (await bench.gateway.delete("/v1/models/scale/versions/1.9.0")).status_code == 409
    assert (await bench.gateway.delete("/v1/models/scale/aliases/tried")).status_code == 204
    assert (await bench.gateway.delete("/v1/models/scale/aliases/tried")).status_code == 404
    assert (await bench.gateway.delete("/v1/models/scale/versions/1.9.0")).status_code == 204
    assert (await ask(bench.gateway, version="1.9.0")).status_code == 404
    assert (await bench.gateway.put("/v1/models/scale/aliases/9", json={"version": "1.0.0"})).status_code == 422


async def test_a_canary_gets_its_share_and_a_repeated_id_the_same_version(bench: Bench) -> None:
    await bench.upload(2, "1.0.0")
    await bench.gateway.put("/v1/models/scale/aliases/default", json={"version": "1.0.0"})
    await bench.upload(3, "1.1.0")
    put = await bench.gateway.put("/v1/models/scale/canary", json={"version": "1.1.0", "share": 0.3})
    assert put.json()["canary"] == {"version": "1.1.0", "share": 0.3}
    names = [f"request-{number}" for number in range(300)]
    first = [await factor(bench.replicas[0], request_id=name) for name in names]
    assert [await factor(bench.replicas[1], request_id=name) for name in names] == first
    assert set(first) == {("1.0.0", 2.0), ("1.1.0", 3.0)}
    assert 60 <= sum(version == "1.1.0" for version, _ in first) <= 120  # 90 expected, deviation 8
    assert (await bench.gateway.post("/v1/models/scale/versions/1.1.0/unload")).status_code == 409
    assert (await bench.gateway.delete("/v1/models/scale/canary")).status_code == 204
    assert {await factor(bench.gateway, request_id=name) for name in names[:20]} == {("1.0.0", 2.0)}


async def test_unload_while_requests_are_under_way_fails_none(bench: Bench) -> None:
    await bench.upload(2, "1.0.0")
    content = scale(3, nodes=3000)
    files = form(content, own_card(content, version="1.1.0"))
    assert (await bench.gateway.post("/v1/models", files=files)).status_code == 201
    stop = asyncio.Event()
    seen: set[tuple[str, float]] = set()
    count = 0

    async def keep_asking() -> None:
        nonlocal count
        while not stop.is_set():
            seen.add(await factor(bench.gateway))
            count += 1

    askers = [asyncio.create_task(keep_asking()) for _ in range(8)]
    states: list[tuple[int, str]] = []
    for _ in range(3):
        for order in ("unload", "load"):
            await asyncio.sleep(0.3)
            answer = await bench.gateway.post(f"/v1/models/scale/versions/1.1.0/{order}")
            states.append((answer.status_code, answer.json().get("state", answer.text)))
    stop.set()
    await asyncio.gather(*askers)
    assert states == [(200, "unloaded"), (200, "ready")] * 3
    assert seen == {("1.0.0", 2.0), ("1.1.0", 3.0)}
    assert count > 50


async def test_an_unloaded_version_stays_and_says_so(bench: Bench) -> None:
    await bench.upload(2, load="false")
    answer = await ask(bench.gateway)
    assert (answer.status_code, "unloaded" in answer.json()["detail"]) == (503, True)
    assert (await bench.gateway.get("/v1/models/scale")).json()["versions"][0]["state"] == "unloaded"
    refused = await bench.gateway.put("/v1/models/scale/aliases/default", json={"version": "1.0.0"})
    assert refused.status_code == 409
    assert (await bench.gateway.post("/v1/models/scale/versions/1.0.0/load")).json()["state"] == "ready"
    assert await factor(bench.replicas[1]) == ("1.0.0", 2.0)


async def test_uploads_come_back_after_a_restart(bench: Bench) -> None:
    await bench.upload(2, "1.0.0")
    await bench.upload(3, "1.1.0")
    await bench.gateway.put("/v1/models/scale/aliases/default", json={"version": "1.0.0"})
    with serve(create_perception(bench.settings)) as url:
        async with httpx.AsyncClient(base_url=url, headers=fleet_headers(bench.settings)) as client:
            async with asyncio.timeout(30):
                while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert await factor(client) == ("1.0.0", 2.0)
            assert await factor(client, version="1.1.0") == ("1.1.0", 3.0)


async def test_a_model_that_does_not_come_to_an_end_is_refused_and_takes_nobody_along(bench: Bench) -> None:
    await bench.upload(2)
    content = endless()
    files = form(content, own_card(content, name="endless"))
    answer = await bench.gateway.post("/v1/models", files=files)
    assert answer.status_code == 422
    assert "within 20 s" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/body/file"
    assert await factor(bench.gateway) == ("1.0.0", 2.0)
    assert (await bench.gateway.get("/v1/models/endless")).status_code == 404


async def test_versions_that_take_something_else_are_refused(bench: Bench) -> None:
    await bench.upload(2)
    content = scale(3).replace(b"step_0", b"other_")
    card = own_card(content, version="2.0.0")
    card["inputs"][0]["shape"] = ["batch", 4]
    assert (await bench.gateway.post("/v1/models", files=form(content, card))).status_code == 201
    card = own_card(content, version="2.1.0")
    card["inputs"][0]["shape"] = [1, 4]
    answer = await bench.gateway.post("/v1/models", files=form(content, card))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/card/inputs")


@pytest.mark.parametrize("ready", [False, True])
async def test_tritons_repository(bench: Bench, ready: bool) -> None:
    await bench.upload(2, "1.0.0")
    await bench.upload(3, "1.1.0", load="false")
    listed = (await bench.gateway.post("/v2/repository/index", json={"ready": ready})).json()
    states = {one["version"]: one["state"] for one in listed if one["name"] == "scale"}
    assert states == {"1.0.0": "READY"} | ({} if ready else {"1.1.0": "UNAVAILABLE"})
    assert (await bench.gateway.post("/v2/repository/models/scale/load")).status_code == 200
    assert await factor(bench.gateway) == ("1.1.0", 3.0)
    parameters = {"parameters": {"unload_dependents": False}}
    assert (await bench.gateway.post("/v2/repository/models/scale/unload", json=parameters)).status_code == 200
    assert (await ask(bench.gateway)).status_code == 503
    override = {"parameters": {"file:1/model.onnx": "AAAA"}}
    assert (await bench.gateway.post("/v2/repository/models/scale/load", json=override)).status_code == 422
    assert (await bench.gateway.post("/v2/repository/models/none/load")).status_code == 404


async def test_a_draft_becomes_a_served_model(bench: Bench) -> None:
    content = scale(5)
    fields = {"name": "mine", "version": "1.0.0", "task": "Scales", "licence": "CC0-1.0"}
    draft = await bench.gateway.post("/v1/models/cards", files={"file": content}, data=fields)
    assert draft.status_code == 200
    answer = await bench.gateway.post("/v1/models", files={"card": json.dumps(draft.json()), "file": content})
    assert answer.status_code == 201, answer.text
    assert await factor(bench.gateway, name="mine") == ("1.0.0", 5.0)
    incomplete = draft.json() | {"version": "1.0.1", "licence": ""}
    refused = await bench.gateway.post("/v1/models", files={"card": json.dumps(incomplete), "file": content})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/body/card/licence")
