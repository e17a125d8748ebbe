"""The declarations of the fleet's capabilities: light to import, true of what they name, unknown to the frame."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from services.declarations import FURTHER_CAPABILITIES, SERVICES, NotDeclared, declared_capabilities
from services.samples import main as write_samples
from shared.access.scopes import AccessPolicy
from shared.capabilities.declaration import Capability
from shared.capabilities.references import load_reference
from shared.settings import Settings

ROOT = SERVICES.parent
DECLARED = declared_capabilities()
HEAVY = {
    "fastapi", "finufft", "highdicom", "httpx", "numba", "numpy", "onnx", "onnxruntime", "PIL", "pydicom", "scipy",
    "starlette", "torch",
}  # fmt: skip

each = pytest.mark.parametrize("capability", [*DECLARED], ids=lambda one: one.name)


def test_every_folder_of_a_service_that_holds_routes_is_declared() -> None:
    places = (
        path.relative_to(SERVICES).parts
        for glob in ("routes*", "http/routes*")
        for path in SERVICES.glob(f"*/*/{glob}")
    )
    folders = {parts[:2] for parts in places if parts[1] != "models"}
    assert folders == {(one.domain, one.name) for one in DECLARED}


@each
def test_what_a_declaration_names_is_there(capability: Capability) -> None:
    for reference in capability.references():
        assert load_reference(reference) is not None
    for reference in capability.routers:
        assert isinstance(load_reference(reference), APIRouter)
    for reference in (*capability.warm_ups, *(kind.function for kind in capability.kinds)):
        assert callable(load_reference(reference))


def test_declarations_import_nothing_heavy() -> None:
    script = "import sys; from services.declarations import declared_capabilities as read; read(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


@each
def test_every_router_is_in_the_declared_chapter(capability: Capability) -> None:
    routers: list[APIRouter] = [load_reference(reference) for reference in capability.routers]
    assert capability.tag is not None
    for router in routers:
        assert [str(tag) for tag in router.tags] == [capability.tag.name]


def routes_of(capability: Capability) -> Iterator[APIRoute]:
    for reference in capability.routers:
        yield from (route for route in load_reference(reference).routes if isinstance(route, APIRoute))


@each
def test_every_route_has_a_scope_of_its_own(capability: Capability) -> None:
    policy, own = AccessPolicy(DECLARED), {scope.name for scope in capability.scopes}
    paths = {route.path for route in routes_of(capability)}
    for path in paths:
        assert {policy.needed_scope("GET", path), policy.needed_scope("POST", path)} <= own, path
    for rule in capability.access:
        assert any(path == rule.path or path.startswith(f"{rule.path}/") for path in paths), f"{rule.path}: no route"


@each
def test_body_limits_and_samples_are_for_routes_that_exist(capability: Capability) -> None:
    posted = {route.path for route in routes_of(capability) if "POST" in (route.methods or ())}
    assert {limit.path for limit in capability.body_limits} <= posted
    assert {sample.path for sample in capability.samples} <= posted
    assert capability.samples, "nothing to try it with"


@each
def test_sample_files_are_the_same_each_time(capability: Capability) -> None:
    for sample in capability.samples:
        for file in sample.files.values():
            make = load_reference(file.make)
            content = make()
            assert isinstance(content, bytes)
            assert content == make()


def test_samples_are_written_for_all_at_once(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples")
    names = {file.name for file in DECLARED.sample_files}
    assert {path.name for path in (tmp_path / "samples").iterdir() if path.stat().st_size} == names


def test_the_budgets_leave_room_for_ten_systems() -> None:
    assert sum(one.memory.idle_mib for one in DECLARED) <= 1536 * len(DECLARED) / 10
    assert all(0 < one.memory.idle_mib <= one.memory.used_mib for one in DECLARED)


def words_of(capability: Capability) -> set[str]:
    """What only someone who knows this capability would write: its name, its paths, its settings."""
    prefix = capability.settings.model_config.get("env_prefix", "") if capability.settings else ""
    paths = {rule.path for rule in capability.access}
    return {capability.name, f"services.{capability.domain}", *paths} | ({prefix, prefix.lower()} if prefix else set())


@pytest.mark.parametrize("tree", ["shared", "gateway"])
def test_the_frame_knows_no_capability(tree: str) -> None:
    """Whole words in code, comments and docstrings; the model names of examples are none of them."""
    words = {word for one in DECLARED for word in words_of(one)} - PLAIN_WORDS
    pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in sorted(words)))
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in sorted((ROOT / tree).rglob("*"))
        if path.suffix in {".py", ".lua", ".html"}
        for match in pattern.finditer(path.read_text())
    ]
    assert found == []


PLAIN_WORDS = {"classification", "detection", "example", "explanation"}
"""Names of capabilities that are words of the language as well; their paths are looked for all the same."""


def test_an_operators_own_capability_is_declared_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "facet_test_own.py").write_text(
        "from shared.capabilities.declaration import Capability\n"
        "from shared.memory import MemoryBudget\n"
        "CAPABILITY = Capability(name='own', domain='security', memory=MemoryBudget(idle_mib=1, used_mib=1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(FURTHER_CAPABILITIES, " facet_test_own ,")
    assert "own" in {one.name for one in declared_capabilities().of("security")}
    monkeypatch.setenv(FURTHER_CAPABILITIES, "json")
    with pytest.raises(NotDeclared, match="json has no CAPABILITY"):
        declared_capabilities()


@pytest.mark.parametrize("domain", sorted({one.domain for one in DECLARED}))
def test_the_application_of_a_domain_has_the_routes_of_its_capabilities(domain: str, tmp_path: Path) -> None:
    app: FastAPI = import_module(f"services.{domain}.app").create_app(Settings(models=tmp_path))
    served = set(app.openapi()["paths"])
    for capability in DECLARED:
        if capability.domain == domain:
            assert {route.path for route in routes_of(capability) if route.include_in_schema} <= served


def test_the_words_that_are_looked_for_would_be_found() -> None:
    assert {"conformal", "FACET_CONFORMAL_", "/v1/uncertainty/calibrations"} <= {
        word for one in DECLARED for word in words_of(one)
    }
    assert list((ROOT / "shared").rglob("*.lua"))
