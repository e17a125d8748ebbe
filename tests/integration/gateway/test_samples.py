"""Samples beside the documentation: listed by the gateway, made by the service of their capability."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gateway.app import create_app
from services.application import create_domain_service
from shared.capabilities.collection import Capabilities
from shared.capabilities.declaration import Capability, Sample, SampleFile
from shared.memory import MemoryBudget
from shared.settings import Settings
from tests.integration.gateway.servers import serve

HERE = "tests.integration.gateway.test_samples"
FILE = SampleFile(name="dots.npy", make=f"{HERE}:dots")
DECLARED = Capabilities(
    [
        Capability(
            name="dots",
            domain="medical",
            memory=MemoryBudget(idle_mib=1, used_mib=1),
            samples=(
                Sample(title="Count dots", path="/v1/medical/dots", files={"file": FILE}, form={"kind": "round"}),
                Sample(title="Count none", path="/v1/medical/dots", json={"dots": []}),
            ),
        )
    ]
)


def dots() -> bytes:
    return b"1234"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        redis_url="redis://127.0.0.1:1/0",
        blob_url=str(tmp_path / "blobs"),
        medical_url="http://127.0.0.1:1",
        fleet_token=SecretStr("between us"),
        api_keys=True,
    )


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    service = create_domain_service(
        "medical", title="medical", description="", settings=settings, capabilities=DECLARED
    )
    with ExitStack() as stack:
        behind = settings.model_copy(update={"medical_url": stack.enter_context(serve(service))})
        yield stack.enter_context(serve(create_app(behind, capabilities=DECLARED)))


def test_samples_are_listed_by_path_and_fetched_without_a_key(url: str) -> None:
    listed = httpx.get(f"{url}/docs/samples", trust_env=False).json()
    assert listed == {
        "/v1/medical/dots": [
            {
                "title": "Count dots",
                "files": {"file": {"name": "dots.npy", "href": "/docs/samples/dots.npy"}},
                "form": {"kind": "round"},
                "json": None,
            },
            {"title": "Count none", "files": {}, "form": {}, "json": {"dots": []}},
        ]
    }
    answer = httpx.get(f"{url}/docs/samples/dots.npy", trust_env=False)
    assert (answer.status_code, answer.content) == (200, dots())
    assert answer.headers["content-disposition"] == 'attachment; filename="dots.npy"'


@pytest.mark.parametrize("name", ["others.npy", "..%2Fdots.npy", "%00"])
def test_other_names_are_not_there(url: str, name: str) -> None:
    answer = httpx.get(f"{url}/docs/samples/{name}", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_service_that_is_down_is_named(settings: Settings) -> None:
    with serve(create_app(settings, capabilities=DECLARED)) as gateway:
        answer = httpx.get(f"{gateway}/docs/samples/dots.npy", trust_env=False)
    assert answer.status_code == 503
    assert "medical" in answer.json()["detail"]
