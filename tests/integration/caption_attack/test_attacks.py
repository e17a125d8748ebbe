"""Attacks on a captioner of the fleet: a real worker asks a real service, which counts what it is shown."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from services.security.caption_attack.captioners.fleet_target import PATH as CAPTIONS
from services.security.caption_attack.evaluation.asking import ServiceAddress
from services.security.caption_attack.evaluation.experiments import MAIN, QUERIES, Experiment
from services.security.caption_attack.evaluation.running import Asker
from shared.jobs.records import JobStatus
from tests.integration.caption_attack.conftest import PICTURES
from tests.support.caption_attacks import AttackBench
from tests.support.serving import fleet_headers

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRONG = {"pixels_percent": "20", "bound": "255", "goal": "caption_differs"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _worker(bench: AttackBench) -> AsyncIterator[None]:
    with bench.worker():
        await bench.until_attended()
        yield


async def caption(bench: AttackBench, content: bytes, **form: str) -> str:
    """What the captioner says of a picture, asked without an attack."""
    async with httpx.AsyncClient(base_url=bench.settings.perception_url, headers=fleet_headers(bench.settings)) as http:
        answer = await http.post(CAPTIONS, files={"file": content}, data={"beams": "1"} | form)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["pictures"][0]["captions"][0]["text"]
    return text


def pixels(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(Image.open(io.BytesIO(content)), np.int64)


async def test_what_is_found_is_what_the_captioner_says_when_anybody_asks(bench: AttackBench) -> None:
    before = bench.captioner.pictures
    form = {"model": "tiny-lstm", "queries": "40", "arms": "A,C,O", **STRONG}
    result = await bench.result(await bench.post(*PICTURES[:2], **form))
    report = result["report"]
    assert json.loads(bench.file(result, "report.json")) == report
    seen = bench.captioner.pictures - before
    assert seen == report["spent"] <= report["budget"], "the target's own count"
    assert report["complete"]
    assert [(run["picture"], run["arm"]) for run in report["runs"]] == [(p, a) for p in (0, 1) for a in "ACO"]
    for run in report["runs"]:
        name = f"picture-{run['picture'] + 1}-{run['arm']}-seed-0"
        changed, clean = bench.file(result, f"{name}.png"), PICTURES[run["picture"]]
        assert [await caption(bench, changed, model="tiny-lstm")] == run["captions"]
        assert [await caption(bench, clean, model="tiny-lstm")] == run["clean"]
        difference = pixels(changed) - pixels(clean)
        assert int((difference != 0).any(axis=2).sum()) == run["distances"]["l0"] <= run["pixels"]
        assert np.abs(difference).max() == run["distances"]["linf"] <= run["bound"]
        assert run["success"] == (run["captions"] != run["clean"])
        assert (pixels(bench.file(result, f"{name}-difference.png")) != 128).any() == (difference != 0).any()
    assert any(run["success"] for run in report["runs"]), "random weights are easily changed"
    assert report["target"]["model"]["name"] == "tiny-lstm"
    assert report["target"]["encoder"]["name"] == "tiny-lstm-encoder"
    page = bench.file(result, "report.html").decode()
    assert "<script" not in page
    assert "data:image/png;base64," in page
    assert pixels(bench.file(result, "curve.png")).size


async def test_the_same_attack_has_the_same_report_and_other_seeds_another(bench: AttackBench) -> None:
    form = {"queries": "30", "arms": "A", "pixels_percent": "5", "stop_at_goal": "false", "defences": "none"}
    first, second, other = [
        (await bench.result(await bench.post(PICTURES[0], **form, first_seed=seed)))["report"]
        for seed in ("0", "0", "1")
    ]
    assert first == second
    assert [run["curve"] for run in first["runs"]] != [run["curve"] for run in other["runs"]] or (
        first["runs"][0]["distances"] != other["runs"][0]["distances"]
    )


async def test_a_small_budget_ends_an_attack_with_what_it_has(bench: AttackBench) -> None:
    before = bench.captioner.pictures
    form = {"queries": "50", "arms": "A,C", "budget": "70", "stop_at_goal": "false", "pixels_percent": "5"}
    report = (await bench.result(await bench.post(*PICTURES, **form)))["report"]
    assert bench.captioner.pictures - before == report["spent"] <= 70
    assert not report["complete"]
    assert "budget of 70 queries" in report["stopped"]
    assert report["runs"]
    assert report["options"]["budget"] == 70


async def test_a_cancelled_attack_says_what_it_has_found_and_goes_on_when_retried(bench: AttackBench) -> None:
    before = bench.captioner.pictures
    form = {"queries": "60", "arms": "A,C,D", "stop_at_goal": "false", "defences": "none", "pixels_percent": "5"}
    bench.captioner.pause_s = 0.05
    job_id = await bench.post(*PICTURES, **form)
    await bench.until_asked(before + 30)
    await bench.jobs.request_cancel(job_id)
    record = await bench.finish(job_id)
    assert record.status is JobStatus.CANCELLED
    assert record.result is not None, "a valid report of what there was"
    report = record.result["report"]
    assert (report["stopped"], report["complete"]) == ("It was cancelled.", False)
    assert 0 < len(report["runs"]) < 9
    assert b"Not complete" in bench.file(record.result, "report.html")
    bench.captioner.pause_s = 0
    await bench.jobs.retry(job_id)
    whole = (await bench.result(job_id))["report"]
    assert whole["complete"]
    assert len(whole["runs"]) == 9
    assert bench.captioner.pictures - before == whole["spent"] <= whole["budget"], "nothing was asked twice"


@pytest.mark.parametrize("guide", ["tiny-lstm", "tiny-transformer"])
async def test_an_experiment_of_the_evaluation_spends_what_it_says(
    guide: str, bench: AttackBench, tmp_path: Path
) -> None:
    files = (tmp_path / "0.png",)
    files[0].write_bytes(PICTURES[0])
    assert bench.settings.fleet_token is not None
    address = ServiceAddress(bench.settings.perception_url, bench.settings.fleet_token.get_secret_value())
    asker, before = Asker(address, "tiny-lstm", ("tiny-transformer",), files), bench.captioner.pictures
    experiment = Experiment("tiny-lstm", guide, "A", MAIN, seed=0, photograph=0)
    line = await asyncio.to_thread(asker.run, experiment)
    shown = line.get("shown", {})
    asked_beside = 2 * len(line.get("defences", ())) + sum(map(len, shown.values())) + len(["the guide"])
    assert bench.captioner.pictures - before == line["spent"] + asked_beside
    assert {one: set(said) for one, said in shown.items()} == (
        {"tiny-transformer": {"clean", "drawn", "found"}} if guide == "tiny-lstm" else {}
    )
    assert line["queries"] <= QUERIES
    assert line["clean"] == await caption(bench, PICTURES[0], model="tiny-lstm")
    assert (line["key"], line["victim"]) == (experiment.key, "tiny-lstm")


async def test_a_captioner_that_is_not_there_is_named(bench: AttackBench) -> None:
    record = await bench.finish(await bench.post(PICTURES[0], model="nobody", queries="10"))
    assert record.status is JobStatus.FAILED
    assert record.problem is not None
    assert "nobody" in record.problem["detail"]
    assert record.problem["status"] == 404
