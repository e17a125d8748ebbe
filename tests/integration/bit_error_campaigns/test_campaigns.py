"""Campaigns from the post to the files of the result, with a real worker; and what became of a killed one."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from services.security.bit_error_campaigns.demo import labelled_shapes, labelled_signs, shape_classifier
from shared.jobs.records import JobStatus
from tests.support.archives import zipped
from tests.support.bit_error_campaigns import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHAPES, OWN, SIGNS = labelled_shapes(), shape_classifier(), labelled_signs()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attended(bench: Bench) -> AsyncIterator[Bench]:
    with bench.worker():
        await bench.until_attended()
        yield bench


def shown(content: bytes) -> tuple[int, int]:
    """Size of a PNG that is not of one colour."""
    image = Image.open(io.BytesIO(content))
    assert len(set(np.asarray(image.convert("L")).ravel().tolist())) > 10
    return image.size


async def test_a_posted_classifier_runs_to_the_report(attended: Bench) -> None:
    estimate = await attended.estimate(SHAPES, OWN, rates="0.001,0.02,0.2", seeds="4")
    assert (estimate["images"], estimate["classes"]) == (120, 4)
    assert estimate["networks"] == 2 + 3 * 4 + 3 * 2 + 3 * 8
    assert estimate["accepted"]
    result = await attended.result(await attended.post(SHAPES, OWN, rates="0.001,0.02,0.2", seeds="4"))
    report = attended.report(result)
    assert report["evaluations"] == estimate["evaluations"] == 120 * estimate["networks"]
    assert report["as_given"]["accuracy"] > 0.9
    means = [point["accuracy"]["mean"] for point in report["curve"]]
    assert means[0] > means[1] > means[2]
    for point in report["curve"]:
        spread = point["accuracy"]
        assert spread["low"] <= spread["mean"] <= spread["high"]
        assert len(spread["by_seed"]) == 4
        assert spread["mean"] == pytest.approx(np.mean(spread["by_seed"]))
    lost = {one["points"]: one["rate"] for one in report["loss_rates"]}
    assert 0 < lost[1] < lost[5] < 0.2
    assert [one["rank"] for one in report["layers"]] == [1, 2]
    assert {one["layer"] for one in report["layers"]} == {"edges", "head"}
    assert report["bits"][0]["bit"] in {6, 7}
    assert {one["bit"] for one in report["bits"]} == set(range(8))
    assert report["memory"] == {
        "weights": 24 * 25 + 384 * 4,
        "layers": 2,
        "bytes_of_graph": False,
        "computed_layers": [],
    }
    for name in ("curve.png", "layers.png", "bits.png"):
        assert shown(attended.file(result, name))[0] == 1440
    page = attended.file(result, "report.html").decode()
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


async def test_the_same_request_has_the_same_report(attended: Bench) -> None:
    form = {"rates": "0.01", "seeds": "3", "execution": "session_per_network", "layout": "iid"}
    results = [await attended.result(await attended.post(SHAPES, OWN, **form)) for _ in range(2)]
    for name in ("report.json", "report.html", "curve.png", "layers.png", "bits.png"):
        assert results[0]["files"][name]["sha256"] == results[1]["files"][name]["sha256"]


async def test_both_ways_to_exchange_weights_count_the_same(attended: Bench) -> None:
    ways = ("session_per_network", "weights_as_inputs")
    form = {"rates": "0.02", "seeds": "3", "analyses": "curve"}
    results = [await attended.result(await attended.post(SHAPES, OWN, execution=way, **form)) for way in ways]
    assert [result["execution"]["way"] for result in results] == list(ways)
    assert results[0]["report"]["curve"] == results[1]["report"]["curve"]


async def test_a_quicker_way_is_measured_and_stated(attended: Bench) -> None:
    result = await attended.result(await attended.post(SHAPES, OWN, rates="0.02", seeds="1", analyses="curve"))
    measured = result["execution"]["network_s"]
    assert set(measured) == {"session_per_network", "weights_as_inputs"}
    assert measured[result["execution"]["way"]] == min(measured.values())


async def test_accuracy_as_given_is_that_of_a_plain_session(attended: Bench) -> None:
    form = {"rates": "0.01", "seeds": "1", "analyses": "curve", "images": "20"}
    report = attended.report(await attended.result(await attended.post(SIGNS, model="traffic-signs", **form)))
    assert report["model"]["version"] == "1.0.0"
    assert report["dataset"] == report["dataset"] | {"images": 20, "posted": 24, "labels_by": "class numbers"}
    assert report["as_given"]["accuracy"] >= 0.95


async def test_a_picture_that_cannot_be_decoded_fails_the_job_by_name(attended: Bench) -> None:
    dataset = zipped({"0/a.png": b"\x89PNG\r\n\x1a\n" + b"x" * 60})
    record = await attended.finish(await attended.post(dataset, OWN))
    assert record.status is JobStatus.FAILED
    assert record.problem is not None
    assert "'0/a.png'" in record.problem["detail"]
    assert record.problem["errors"][0]["pointer"] == "/body/dataset"


def fails_on_bright_pictures() -> bytes:
    """A classifier that looks a row up by the brightness of the picture, and has a row for black only."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        helper.make_node("ReduceMax", ["x"], ["light"], keepdims=0),
        helper.make_node("Mul", ["light", "hundred"], ["much"]),
        helper.make_node("Cast", ["much"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["rows", "row"], ["found"]),
        helper.make_node("Add", ["scores", "found"], ["y"]),
    ]
    constants = {"w": np.ones((256, 4)), "rows": np.zeros((1, 4)), "hundred": np.array(100.0)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


async def test_a_model_that_fails_on_the_pictures_fails_the_job_with_the_reason(attended: Bench) -> None:
    record = await attended.finish(await attended.post(SHAPES, fails_on_bright_pictures()))
    assert record.status is JobStatus.FAILED
    assert record.problem is not None
    assert record.problem["status"] == 422
    assert "The model fails on these pictures: Gather" in record.problem["detail"]


async def events_of(bench: Bench, job_id: str) -> list[Any]:
    found = []
    async for event in bench.jobs.events.follow(job_id, idle_s=0.01):
        if event is None:
            break
        found.append(event)
    return found


async def test_progress_and_a_preview_of_the_curve_are_shown(attended: Bench) -> None:
    job_id = await attended.post(SHAPES, OWN, rates="0.001,0.01,0.1", seeds="100", analyses="curve")
    await attended.result(job_id)
    events = await events_of(attended, job_id)
    previews = [event.data for event in events if event.type == "preview"]
    assert shown(attended.blobs.get(previews[0]["digest"])) == (1440, 800)
    messages = [event.data["message"] for event in events if event.type == "progress"]
    # Which of the rates is caught depends on the machine: progress is written ten times a second at most.
    assert any(re.match(r"rate 0\.0*1, seed 500", message) for message in messages)


async def test_a_running_campaign_is_cancelled(attended: Bench) -> None:
    job_id = await attended.post(SHAPES, OWN, seeds="1000", analyses="curve")
    await attended.until_begun(job_id)
    await attended.jobs.request_cancel(job_id)
    assert (await attended.finish(job_id)).status is JobStatus.CANCELLED
