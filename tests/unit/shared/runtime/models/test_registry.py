"""The registry hands out models that it has verified, and readiness names those that it refused."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from shared.http.errors import install_problem_handlers
from shared.problems import NotFound, ServiceUnavailable
from shared.runtime.cards import CARD_FILE
from shared.runtime.models.listing import models_router
from shared.runtime.models.registry import ModelRegistry, newest_folder
from tests.support.tiny_models import card_of, release


def opened(folder: Path) -> ModelRegistry:
    registry = ModelRegistry(folder, threads=1)
    registry.open()
    return registry


async def test_service_without_models_is_ready(tmp_path: Path) -> None:
    assert await opened(tmp_path / "nowhere").check() is None


async def test_changed_weights_are_named_while_other_models_serve(tmp_path: Path) -> None:
    release(tmp_path, "sound")
    (release(tmp_path, "changed") / "model.onnx").write_bytes(b"other weights")
    registry = opened(tmp_path)
    state = await registry.check()
    assert state is not None
    assert "changed 1.0.0" in state
    assert "sha256" in state
    assert "sound" not in state
    assert registry.get("sound").card.name == "sound"
    with pytest.raises(ServiceUnavailable, match="changed is not loaded"):
        registry.get("changed")


async def test_missing_weights_are_named(tmp_path: Path) -> None:
    (release(tmp_path) / "model.onnx").unlink()
    assert "low-dose-ct 1.0.0: model.onnx is missing" in str(await opened(tmp_path).check())


async def test_field_that_a_card_must_not_have_is_named(tmp_path: Path) -> None:
    card = release(tmp_path) / CARD_FILE
    card.write_text(card.read_text().replace('"task"', '"accuracy": 1, "task"'))
    assert "accuracy" in str(await opened(tmp_path).check())


@pytest.mark.parametrize("changed", [{"name": "another"}, {"version": "9.9.9"}])
async def test_card_in_the_folder_of_another_model_is_refused(changed: dict[str, str], tmp_path: Path) -> None:
    folder = release(tmp_path)
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps(card | changed))
    state = str(await opened(tmp_path).check())
    assert state.startswith("low-dose-ct 1.0.0: its card is that of")
    assert next(iter(changed.values())) in state


async def test_unreadable_file_is_named_without_its_path(tmp_path: Path) -> None:
    card = release(tmp_path) / CARD_FILE
    card.unlink()
    card.mkdir()
    assert await opened(tmp_path).check() == "low-dose-ct 1.0.0: card.json cannot be read (IsADirectoryError)"


async def test_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    folder, content = release(tmp_path), b"no graph"
    (folder / "model.onnx").write_bytes(content)
    (folder / CARD_FILE).write_text(json.dumps(card_of(content)))
    assert str(await opened(tmp_path).check()).startswith("low-dose-ct 1.0.0")


def test_newest_version_is_the_highest_number(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.2.11"):
        release(tmp_path, version=version)
    registry = opened(tmp_path)
    assert registry.get("low-dose-ct").card.version == "1.10.0"
    assert registry.get("low-dose-ct", "1.9.0").card.version == "1.9.0"
    assert newest_folder(tmp_path, "low-dose-ct").name == "1.10.0"
    with pytest.raises(NotFound, match=r"low-dose-ct 1\.3\.0"):
        registry.get("low-dose-ct", "1.3.0")


def test_unknown_model_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    release(tmp_path)
    with pytest.raises(NotFound, match=r"no model captioner.*low-dose-ct 1\.0\.0"):
        opened(tmp_path).get("captioner")
    with pytest.raises(FileNotFoundError, match="captioner"):
        newest_folder(tmp_path, "captioner")


async def test_ready_only_after_the_last_warm_up(tmp_path: Path) -> None:
    release(tmp_path)
    reached, go_on = threading.Event(), threading.Event()

    def warm_up() -> None:
        reached.set()
        go_on.wait()

    registry = ModelRegistry(tmp_path, threads=1, warm_ups=[warm_up])
    opening = threading.Thread(target=registry.open)
    opening.start()
    reached.wait()
    assert await registry.check() == "models are loading"
    with pytest.raises(ServiceUnavailable):
        registry.get("captioner")
    go_on.set()
    opening.join()
    assert await registry.check() is None


async def test_failed_warm_up_keeps_the_service_alive_and_not_ready(tmp_path: Path) -> None:
    def warm_up() -> None:
        raise RuntimeError("no compiler at /usr/bin/cc")

    release(tmp_path)
    registry = ModelRegistry(tmp_path, threads=1, warm_ups=[warm_up])
    await registry.open_in_background()
    state = await registry.check()
    assert state is not None
    assert "warm_up" in state
    assert registry.get("low-dose-ct")


async def test_cards_over_http(tmp_path: Path) -> None:
    release(tmp_path, "low-dose-ct", limits=["Research use only"])
    release(tmp_path, "gaussian-denoiser")
    app = FastAPI()
    install_problem_handlers(app)
    app.include_router(models_router(opened(tmp_path)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.test") as client:
        listed = (await client.get("/v1/models")).json()["models"]
        assert {card["name"] for card in listed} == {"low-dose-ct", "gaussian-denoiser"}
        assert (await client.get("/v1/models/low-dose-ct")).json()["limits"] == ["Research use only"]
        assert (await client.get("/v1/models/captioner")).status_code == 404


async def test_what_is_wanted_on_demand_is_verified_and_opened_by_the_first_run(tmp_path: Path) -> None:
    card = release(tmp_path / "lazy", "lazy") / CARD_FILE
    changed = json.loads(card.read_text()) | {"runtime": {"on_demand": True}}
    card.write_text(json.dumps(changed))
    registry = opened(tmp_path / "lazy")
    assert await registry.check() is None
    model = registry.get("lazy")
    assert not model.is_open()
    with ThreadPoolExecutor(4) as pool:
        seconds = list(pool.map(lambda _: model.warm_up(), range(4)))
    assert min(seconds) > 0
    assert model.is_open()
    (card.parent / "model.onnx").write_bytes(b"other weights")
    assert "sha256" in str(await opened(tmp_path / "lazy").check()), "verified before it is wanted"
