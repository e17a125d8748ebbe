"""What every domain service does, whatever its capabilities: start, say how it is, describe itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from shared.settings import DOMAINS, Settings
from tests.support.serving import running, until_models_are_open

ROOT = Path(__file__).parents[3]
NO_REDIS = "redis://127.0.0.1:1/0"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=DOMAINS)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """A domain's application, without models and without Redis."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = Settings(redis_url=NO_REDIS, blob_url=str(folder / "blobs"), models=folder)
    application: FastAPI = import_module(f"services.{request.param}.app").create_app(settings)
    return application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as started:
        await until_models_are_open(started)
        yield started


async def test_alive_without_redis(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_not_ready_without_redis_and_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    checks = answer.json()["checks"]
    assert "job store does not answer" in checks["redis"]
    assert checks["models"] == "ok"


async def test_metrics_are_prometheus_text_and_count_requests(client: httpx.AsyncClient) -> None:
    await client.get("/health/live")
    families = list(text_string_to_metric_families((await client.get("/metrics")).text))
    counted = [sample for family in families for sample in family.samples if "/health/live" in sample.labels.values()]
    assert any(sample.value >= 1 for sample in counted)


async def test_openapi_names_every_operation_and_documents_problems(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    schemas = document["components"]["schemas"]
    assert "ProblemDetails" in schemas
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)


async def test_openapi_refers_to_nothing_that_is_missing(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    def references(part: object) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*map(references, part.values()))
        return set().union(*map(references, part)) if isinstance(part, list) else set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


async def test_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/nothing-here")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == "/v1/nothing-here"


async def test_model_without_release_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json() == {"models": []}
    assert (await client.get("/v1/models/none")).status_code == 404


async def loaded_of(domains: Sequence[str], libraries: set[str]) -> str:
    """Which of some libraries a process has loaded after it made the applications of these domains."""
    apps = "; ".join(f"import services.{domain}.app; services.{domain}.app.create_app()" for domain in domains)
    script = f"import sys; {apps}; print(*sorted({libraries!r} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return output.decode().strip()


async def test_serving_loads_no_torch() -> None:
    assert await loaded_of(DOMAINS, {"torch", "skimage", "matplotlib"}) == ""


async def test_only_the_service_that_makes_graphs_loads_onnx() -> None:
    assert await loaded_of([domain for domain in DOMAINS if domain != "uncertainty"], {"onnx"}) == ""
