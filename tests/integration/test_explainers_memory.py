"""Uploaded classifiers in the uncertainty service: what is held of them is bounded, and what is let go comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.perception.classification.demo import stop_sign
from services.uncertainty.app import create_app
from services.uncertainty.explanation.explainers import Explainers
from shared.deployments.desired_state import Deployment, DesiredState
from shared.deployments.store import DesiredStateStore
from shared.jobs.connection import api_client
from shared.runtime.cards import UploadedCard
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.support.classifiers import card_of, classifier
from tests.support.serving import running, until_models_are_open

NAMES = ("first", "second", "third")


@pytest.fixture
async def settings(redis_url: str, tmp_path: Path) -> Settings:
    """A fleet to which three classifiers were uploaded."""
    settings = Settings(
        _env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs"), models=tmp_path, inference_threads=1
    )
    redis = api_client(redis_url)
    for seed, name in enumerate(NAMES):
        content = classifier(seed=seed)
        card = UploadedCard.model_validate(card_of(content, name=name))
        deployment = Deployment(card, BlobStore(settings.blob_url).put(content).digest)
        await DesiredStateStore(redis).change("perception", partial(DesiredState.with_upload, upload=deployment))
    await redis.aclose()
    return settings


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_app(settings)
    async with running(app) as client:
        await until_models_are_open(client)
        yield app, client


async def explain(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await client.post("/v1/uncertainty/explanations", files={"file": stop_sign()}, data={"model": name})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_was_not_asked_for_the_longest_goes_and_comes_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_EXPLANATION_UPLOADED_MEMORY_BYTES", "30000")
    async with serving(settings) as (app, client):
        explainers: Explainers = app.state.service.states.get(Explainers)
        before = await explain(client, "first")
        size = explainers.memory
        assert 0 < size < 30_000 < 3 * size, "the limit of this test holds two of three"
        for name in NAMES[1:]:
            await explain(client, name)
        assert [one.card.name for one in explainers.known] == ["second", "third"]
        assert explainers.memory <= 30_000
        assert {name for name, _ in app.state.service.batchers.known} == {"second", "third"}
        assert await explain(client, "first") == before
        assert [one.card.name for one in explainers.known] == ["third", "first"]
        both = await asyncio.gather(explain(client, "second"), explain(client, "second"))
        assert both[0] == both[1]
        assert [one.card.name for one in explainers.known] == ["first", "second"]


async def test_one_that_is_too_large_by_itself_is_not_held(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_EXPLANATION_UPLOADED_MEMORY_BYTES", "1")
    async with serving(settings) as (app, client):
        explainers: Explainers = app.state.service.states.get(Explainers)
        assert await explain(client, "first") == await explain(client, "first")
        assert (explainers.known, explainers.memory) == ([], 0)
        assert not app.state.service.batchers.known
