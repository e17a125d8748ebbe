"""Models as files: released folders and the blob store, chosen as the services choose them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.released import released_folders
from shared.deployments.desired_state import Deployment, DesiredState
from shared.deployments.store import DesiredStateStore, Report, VersionReport
from shared.fleet.artifacts import ModelArtifacts, model_artifact
from shared.jobs.connection import api_client
from shared.problems import NotFound, ServiceUnavailable
from shared.runtime.cards import DigestMismatch, UploadedCard
from shared.settings import DOMAINS, Settings
from shared.storage.blobs import BlobStore
from tests.support.classifiers import card_of, classifier
from tests.support.tiny_models import release


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    release(tmp_path / "models" / "medical", "released", "1.0.0")
    return Settings(_env_file=None, redis_url=redis_url, blob_url=str(tmp_path / "blobs"), models=tmp_path / "models")


@pytest.fixture
async def plans(settings: Settings) -> AsyncIterator[DesiredStateStore]:
    redis = api_client(settings.redis_url)
    yield DesiredStateStore(redis)
    await redis.aclose()


@pytest.fixture
def artifacts(settings: Settings, plans: DesiredStateStore) -> ModelArtifacts:
    return ModelArtifacts(released_folders(settings), plans, BlobStore(settings.blob_url), fresh_s=60)


async def upload(
    settings: Settings, plans: DesiredStateStore, name: str, version: str = "1.0.0", *, seed: int = 0
) -> bytes:
    content = classifier(seed=seed)
    blob = await asyncio.to_thread(BlobStore(settings.blob_url).put, content)
    card = UploadedCard.model_validate(card_of(content, name=name, version=version))
    await plans.change("perception", lambda plan: plan.with_upload(Deployment(card, blob.digest)))
    return content


async def change(plans: DesiredStateStore, alter: Callable[[DesiredState], DesiredState]) -> None:
    await plans.change("perception", alter)


async def test_a_released_model_is_read_and_compared_with_its_card(
    settings: Settings, artifacts: ModelArtifacts
) -> None:
    found = await artifacts.find("released")
    assert (found.domain, found.released, found.card.version) == ("medical", True, "1.0.0")
    assert found.folder is not None
    assert found.read() == (found.folder / "model.onnx").read_bytes()
    (found.folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(DigestMismatch):
        found.read()


async def test_an_uploaded_model_is_found_at_once_and_read_by_its_digest(
    settings: Settings, artifacts: ModelArtifacts, plans: DesiredStateStore
) -> None:
    with pytest.raises(NotFound):
        await artifacts.find("own")
    content = await upload(settings, plans, "own")
    found = await artifacts.find("own")
    assert (found.domain, found.released) == ("perception", False)
    assert found.read() == content
    assert [one.card.name for one in await artifacts.uploaded()] == ["own"]


async def test_versions_are_chosen_as_for_requests(settings: Settings, plans: DesiredStateStore) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0"):
        await upload(settings, plans, "own", version, seed=int(version[2]))

    async def chosen(version: str | None = None) -> str:
        fresh = ModelArtifacts(released_folders(settings), plans, BlobStore(settings.blob_url))
        return (await fresh.find("own", version)).card.version

    assert [await chosen(), await chosen("1"), await chosen("1.9.0")] == ["2.0.0", "1.10.0", "1.9.0"]
    await change(plans, lambda plan: plan.with_alias("own", "default", "1.9.0").with_alias("own", "best", "1.10.0"))
    assert [await chosen(), await chosen("best")] == ["1.9.0", "1.10.0"]
    await change(plans, lambda plan: plan.without_alias("own", "default").with_loaded("own", "2.0.0", loaded=False))
    assert await chosen() == "1.10.0"
    with pytest.raises(NotFound, match=r"own 2\.0\.0"):
        await chosen("2.0.0")


async def test_what_its_service_refused_is_not_handed_out(settings: Settings, plans: DesiredStateStore) -> None:
    await upload(settings, plans, "own", "1.0.0")
    await upload(settings, plans, "own", "2.0.0", seed=1)
    report = Report(1, {("own", "1.0.0"): VersionReport("ready"), ("own", "2.0.0"): VersionReport("failed")})
    await plans.report("perception", "a replica", report)
    fresh = ModelArtifacts(released_folders(settings), plans, BlobStore(settings.blob_url))
    assert (await fresh.find("own")).card.version == "1.0.0"


async def test_a_lost_file_is_said_to_be(
    settings: Settings, artifacts: ModelArtifacts, plans: DesiredStateStore
) -> None:
    await upload(settings, plans, "own")
    found = await artifacts.find("own")
    BlobStore(settings.blob_url).delete(f"sha256:{found.sha256}")
    with pytest.raises(ServiceUnavailable, match="BlobMissing"):
        found.read()


async def test_without_redis_released_models_go_on_and_others_cannot_be_told(settings: Settings) -> None:
    redis = api_client("redis://127.0.0.1:1/0")
    lonely = ModelArtifacts(released_folders(settings), DesiredStateStore(redis), BlobStore(settings.blob_url))
    assert (await lonely.find("released")).released
    with pytest.raises(ServiceUnavailable, match="cannot be said"):
        await lonely.find("own")
    await redis.aclose()


async def test_a_job_finds_a_model_without_a_loop_of_its_own(settings: Settings, plans: DesiredStateStore) -> None:
    content = await upload(settings, plans, "own")
    found = await asyncio.to_thread(model_artifact, settings, released_folders(settings), "own")
    assert found.read() == content


def test_folders_of_capabilities_are_beside_those_of_their_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_CAPABILITIES", "tests.support.toy.capability")
    plain = released_folders(Settings(_env_file=None))
    assert set(plain) == set(DOMAINS)
    assert [path.parts[-2:] for path in plain["security"]] == [("security", "models"), ("toy", "models")]
    moved = released_folders(replace_models(Settings(_env_file=None)))
    assert moved["security"] == (Path("elsewhere/security"),)


def replace_models(settings: Settings) -> Settings:
    return settings.model_copy(update={"models": Path("elsewhere")})
