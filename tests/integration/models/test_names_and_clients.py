"""Models by the names and versions that Triton's users have, and Triton's own client on its model repository."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.http import InferInput

from tests.integration.models.conftest import Bench, factor
from tests.support.own_models import SIDE, form, own_card, scale


@pytest.fixture
def client(urls: tuple[str, str, str]) -> Iterator[Any]:
    made = tritonclient.http.InferenceServerClient(urls[0].removeprefix("http://"))
    yield made
    made.close()


async def test_tritons_client_lists_loads_and_unloads(bench: Bench, client: Any) -> None:
    """It sends JSON without saying so."""
    await bench.upload(2)
    listed = client.get_model_repository_index()
    assert [(one["name"], one["state"]) for one in listed] == [("scale", "READY")]
    client.unload_model("scale")
    assert not client.is_model_ready("scale")
    listed = client.get_model_repository_index()
    assert [(one["name"], one["state"]) for one in listed] == [("scale", "UNAVAILABLE")]
    client.load_model("scale")
    assert client.is_model_ready("scale", "1")
    with pytest.raises(tritonclient.http.InferenceServerException, match="POST /v1/models"):
        client.load_model("scale", config="{}")


CONTENT_TYPES = (None, "application/x-www-form-urlencoded", "text/plain", "application/json")
BODIES: tuple[tuple[bytes, int, Any], ...] = (
    (b'{"ready": true}', 200, ["READY"]),
    (b'{"ready": false, "further": 1}', 200, ["READY"]),
    (b"", 200, ["READY"]),
    (b" \n", 200, ["READY"]),
    (b'{"ready": "perhaps"}', 422, "/body/ready"),
    (b"[]", 422, "/body"),
    (b"{ready}", 400, None),
    (b" " * (1024 * 1024 + 1), 413, None),
)


async def test_bodies_are_json_whatever_they_say(bench: Bench) -> None:
    await bench.upload(2)
    for content_type, (content, status, found) in itertools.product(CONTENT_TYPES, BODIES):
        headers = {"Content-Type": content_type} if content_type else {}
        answer = await bench.gateway.post("/v2/repository/index", content=content, headers=headers)
        assert answer.status_code == status, (content_type, answer.text)
        if status == 200:
            assert [one["state"] for one in answer.json()] == found
        elif status == 422:
            assert answer.json()["errors"][0]["pointer"] == found


async def test_names_as_others_have_them(bench: Bench, client: Any) -> None:
    content = scale(5)
    for name in ("ResNet50", "resnet50_v1", "yolov8n.pt", "A", "0.1", "cards", "x" * 64):
        answer = await bench.gateway.post("/v1/models", files=form(content, own_card(content, name=name)))
        assert answer.status_code == 201, answer.text
        assert (await bench.gateway.get(answer.headers["Location"])).json()["name"] == name
        assert (await bench.gateway.get(f"/v1/models/{name}")).json()["name"] == name
        put = await bench.gateway.put(f"/v1/models/{name}/aliases/tried", json={"version": "1"})
        assert (put.status_code, put.json()) == (200, {"version": "1.0.0"})
        for version in (None, "tried", "1.0"):
            assert await factor(bench.gateway, name=name, version=version) == ("1.0.0", 5.0)
        metrics = (await bench.replicas[0].get("/metrics")).text
        assert f'facet_batch_rows_count{{model="{name}",version="1.0.0"}}' in metrics
        assert client.get_model_config(name)["name"] == name
    assert len(client.get_model_repository_index()) == 7


async def test_a_name_that_is_none_is_refused(bench: Bench) -> None:
    content = scale(5)
    answer = await bench.gateway.post("/v1/models", files=form(content, own_card(content) | {"name": "a..b"}))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/card/name")
    draft = {"name": "../a", "version": "01.0.0"}
    answer = await bench.gateway.post("/v1/models/cards", files={"file": content}, data=draft)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/body/name", "/body/version"]


async def test_one_number_means_the_newest_that_begins_with_it(bench: Bench, client: Any) -> None:
    for version, value in (("1.9.0", 2), ("1.10.0", 3), ("2.0.0", 4)):
        assert (await bench.upload(value, version)).status_code == 201
    tensor = InferInput("x", [1, SIDE], "FP32")
    tensor.set_data_from_numpy(np.ones((1, SIDE), np.float32))

    def asked() -> tuple[str, bool, str, str, float]:
        answer = client.infer("scale", [tensor], model_version="1")
        ready = client.is_model_ready("scale", "1")
        metadata, configuration = client.get_model_metadata("scale", "1"), client.get_model_config("scale", "1")
        found = float(answer.as_numpy("y")[0, 0])
        return answer.get_response()["model_version"], ready, metadata["name"], configuration["name"], found

    assert asked() == ("1.10.0", True, "scale", "scale", 3.0)
    assert (await bench.gateway.get("/v1/models/scale/versions/1")).json()["version"] == "1.10.0"
    ambiguous = await bench.gateway.post("/v1/models/scale/versions/1/unload")
    assert (ambiguous.status_code, "1.10.0" in ambiguous.json()["detail"]) == (409, True)
    assert (await bench.gateway.delete("/v1/models/scale/versions/1.10")).status_code == 409
    assert (await bench.gateway.post("/v1/models/scale/versions/1.10.0/unload")).status_code == 200
    assert await factor(bench.gateway, version="1") == ("1.9.0", 2.0)
    assert (await bench.gateway.get("/v1/models/scale/versions/1")).json()["version"] == "1.9.0"
    assert not client.is_model_ready("scale", "3")
