"""Uploaded classifiers in the uncertainty service: what is held of them is bounded, and what is let go comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.perception.classification.demo import stop_sign
from services.uncertainty.app import create_app
from services.uncertainty.explanation.explainers import Explainers
from shared.deployments.plan import Deployment
from shared.deployments.store import PlanStore
from shared.jobs.connection import api_client
from shared.runtime.cards import UploadedCard
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.support.classifiers import card_of, classifier
from tests.support.serving import running, until_models_are_open

NAMES = ("first", "second", "third")


async def test_what_was_not_asked_for_the_longest_goes_and_comes_back(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        _env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs"), models=tmp_path, inference_threads=1
    )
    redis = api_client(redis_url)
    for seed, name in enumerate(NAMES):
        content = classifier(seed=seed)
        card = UploadedCard.model_validate(card_of(content, name=name))
        blob = BlobStore(settings.blob_url).put(content)
        deployment = Deployment(card, blob.digest)
        await PlanStore(redis).change("perception", lambda plan, one=deployment: plan.with_upload(one))  # type: ignore[misc]
    await redis.aclose()
    monkeypatch.setenv("FACET_EXPLANATION_UPLOADED_MEMORY_BYTES", "30000")
    app = create_app(settings)
    async with running(app) as client:
        await until_models_are_open(client)
        explainers: Explainers = app.state.service.states.get(Explainers)

        async def explain(name: str) -> dict[str, object]:
            answer = await client.post(
                "/v1/uncertainty/explanations", files={"file": stop_sign()}, data={"model": name}
            )
            assert answer.status_code == 200, answer.text
            found: dict[str, object] = answer.json()
            return found

        before = await explain("first")
        size = explainers.memory
        assert 0 < size < 30_000 < 3 * size, "the limit of this test holds two of three"
        for name in NAMES[1:]:
            await explain(name)
        assert [one.card.name for one in explainers.known] == ["second", "third"]
        assert explainers.memory <= 30_000
        assert {name for name, _ in app.state.service.batchers.known} == {"second", "third"}
        assert await explain("first") == before
        assert [one.card.name for one in explainers.known] == ["third", "first"]
        both = await asyncio.gather(explain("second"), explain("second"))
        assert both[0] == both[1]
        assert [one.card.name for one in explainers.known] == ["first", "second"]
