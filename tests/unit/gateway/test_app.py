from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.app import create_app
from shared.network_exposure import UnsafeBinding
from tests.support.wires import HttpxWire
from tests.unit.gateway.stubs import FleetTransport, settings

READY = {"status": "ready", "checks": {}}
DOMAINS = ("medical", "generation", "security", "uncertainty", "perception")


def client_of(documents: dict[tuple[str, str], Any], **options: Any) -> httpx.AsyncClient:
    app = create_app(settings(), wire=HttpxWire(FleetTransport(documents, **options)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "facet.example"])
def test_strangers_are_kept_out_by_default(host: str) -> None:
    with pytest.raises(UnsafeBinding, match="FACET_TRUSTED_NETWORK"):
        create_app(settings(host=host))


@pytest.mark.parametrize(
    ("host", "trusted"), [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_loopback_and_trusted_networks_are_served(host: str, trusted: bool) -> None:
    assert create_app(settings(host=host, trusted_network=trusted)).title == "Facet"


async def test_programs_get_an_index_and_people_the_documentation() -> None:
    async with client_of({}) as client:
        index = await client.get("/")
        page = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        neither = await client.get("/", headers={"Accept": "image/png"})
        found = {path: (await client.get(path)).status_code for path in index.json().values() if path.startswith("/")}
    assert len(found) > 3
    assert 404 not in found.values(), found
    assert (index.status_code, index.json()["openapi"]) == (200, "/openapi.json")
    assert 'rel="service-desc"' in index.headers["link"]
    assert (page.status_code, page.headers["location"]) == (303, "/docs")
    assert neither.status_code == 406


async def test_the_documentation_needs_nobody_else() -> None:
    async with client_of({}) as client:
        page = await client.get("/docs")
        policy = page.headers["content-security-policy"]
        for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "docs.js", "docs.css", "favicon-32x32.png"):
            assert f'"docs/static/{asset}"' in page.text
            assert (await client.get(f"/docs/static/{asset}")).status_code == 200
        missing = await client.get("/docs/static/other.js")
        outside = await client.get("/docs/static/%2e%2e/app.py")
    assert "http" not in page.text
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert outside.status_code == 404


async def test_ready_names_what_is_not() -> None:
    documents: dict[tuple[str, str], Any] = {(domain, "/health/ready"): READY for domain in DOMAINS}
    documents["security", "/health/ready"] = {"status": "not ready", "checks": {"models": "loading", "redis": "ok"}}
    documents["generation", "/health/ready"] = httpx.ReadTimeout("slow")
    documents["perception", "/health/ready"] = b"<html>"
    documents["uncertainty", "/health/ready"] = []
    async with client_of(documents) as client:
        answer = await client.get("/health/ready")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert "job store" in checks.pop("redis")
    assert checks == {
        "medical": "ok",
        "generation": "no answer within 2 s",
        "security": "not ready: models: loading",
        "uncertainty": "its answer cannot be read",
        "perception": "its answer cannot be read",
    }


async def test_alive_asks_nobody() -> None:
    transport = FleetTransport({})
    app = create_app(settings(), wire=HttpxWire(transport))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost") as client:
        assert (await client.get("/health/live")).json() == {"status": "alive"}
    assert transport.asked == []


async def test_the_document_is_kept_for_a_while_and_tagged() -> None:
    service = {"openapi": "3.1.0", "info": {}, "paths": {}}
    transport = FleetTransport({(domain, "/openapi.json"): service for domain in DOMAINS})
    app = create_app(settings(), wire=HttpxWire(transport))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost") as client:
        first = await client.get("/openapi.json")
        again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert len(transport.asked) == len(DOMAINS)
    assert first.json()["info"]["license"]["identifier"] == "Apache-2.0"


async def test_the_document_is_served_without_the_services() -> None:
    async with client_of({("medical", "/openapi.json"): ["no document"]}) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["x-unavailable"] == dict.fromkeys(DOMAINS, "not reachable") | {
        "medical": "its answer is not a document"
    }
    assert "/v1/jobs/{job_id}/events" in document["paths"]


def card(name: str = "low-dose-ct", version: str = "1.0.0") -> dict[str, Any]:
    return {
        "name": name, "version": version, "task": "denoising",
        "paper": {"title": "t", "authors": "a", "url": "https://example.org"}, "licence": "Apache-2.0",
        "inputs": [], "outputs": [], "weights": {"file": "model.onnx", "sha256": "0" * 64, "bytes": 1},
        "training": {"data": [], "procedure": "p", "seed": 1, "machine": "m", "hours": 1, "command": "c"},
        "quality": [], "parity": {"reference": "r", "max_abs_difference": 0},
        "latency": {"what": "w", "value_ms": 1, "machine": "m", "threads": 1}, "limits": [], "choices": [],
    }  # fmt: skip


def models(*cards: dict[str, Any], rest: bool = True) -> dict[tuple[str, str], Any]:
    documents: dict[tuple[str, str], Any] = {("medical", "/v1/models"): {"models": list(cards)}}
    others: dict[tuple[str, str], Any] = {(domain, "/v1/models"): {"models": []} for domain in DOMAINS[1:]}
    return documents | (others if rest else {})


async def test_cards_of_all_services_are_listed_with_their_domain() -> None:
    async with client_of(models(card()) | {("security", "/v1/models"): {"models": [card("neuralfuse")]}}) as client:
        answer = (await client.get("/v1/models")).json()
    assert [(model["domain"], model["name"]) for model in answer["models"]] == [
        ("medical", "low-dose-ct"),
        ("security", "neuralfuse"),
    ]
    assert answer["unavailable"] == {}


async def test_a_silent_service_does_not_hide_the_models_of_others() -> None:
    documents = models(card(), rest=False) | {("security", "/v1/models"): {"models": [{"name": "no card"}]}}
    async with client_of(documents) as client:
        answer = (await client.get("/v1/models")).json()
    assert [model["name"] for model in answer["models"]] == ["low-dose-ct"]
    assert answer["unavailable"] == {
        "generation": "not reachable",
        "security": "its answer is not a list of model cards",
        "uncertainty": "not reachable",
        "perception": "not reachable",
    }


async def test_the_newest_version_of_a_model_is_shown() -> None:
    async with client_of(models(card(version="1.9.0"), card(version="1.10.0"))) as client:
        answer = await client.get("/v1/models/low-dose-ct")
    assert answer.json()["version"] == "1.10.0"


async def test_an_unknown_model_is_404_with_the_known_ones_and_503_while_it_cannot_be_known() -> None:
    async with client_of(models(card())) as client:
        unknown = await client.get("/v1/models/other")
    async with client_of(models(card(), rest=False)) as client:
        unsure = await client.get("/v1/models/other")
    assert (unknown.status_code, "low-dose-ct" in unknown.json()["detail"]) == (404, True)
    assert (unsure.status_code, "generation" in unsure.json()["detail"]) == (503, True)


async def test_a_service_in_trouble_is_named_with_its_status() -> None:
    async with client_of(models(card()), statuses={"medical": 500}) as client:
        answer = (await client.get("/v1/models")).json()
    assert answer["unavailable"] == {"medical": "answers 500"}
