"""`make capability` in a copy of the tree: no other file is changed, and what it writes is clean, tested and served."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.e2e.fleet import ROOT, Fleet, start_fleet

DOMAIN, NAME = "security", "throwaway"
PATH = f"/v1/{DOMAIN}/{NAME}"
FOLDERS = (
    f"services/{DOMAIN}/{NAME}",
    f"tests/unit/services/{DOMAIN}/{NAME}",
    f"tests/integration/{NAME}",
)
TREES = ("deploy", "gateway", "services", "shared", "tests", "tools")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pt", "benchmarks", "checkpoints", "fuzz")


def run(command: Sequence[str], *, folder: Path) -> str:
    """Run a command of this environment in a folder; what it says if it goes wrong is in the failure."""
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".mypy_cache", ".ruff_cache"} & set(path.parts)
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the tree with the new capability in it; thrown away afterwards."""
    copy = tmp_path_factory.mktemp("house")
    for tree in TREES:
        shutil.copytree(ROOT / tree, copy / tree, ignore=LEFT_OUT)
    shutil.copy2(ROOT / "pyproject.toml", copy)
    if (ROOT / ".mypy_cache").exists():  # what mypy knows of the unchanged files; without it this takes minutes
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    before = digests(copy)
    run(["-m", "tools.skeleton", DOMAIN, NAME, "--gradient"], folder=copy)
    after = digests(copy)
    assert before.items() <= after.items(), "a file of the house was changed"
    assert all(path.startswith(FOLDERS) for path in after.keys() - before.keys())
    yield copy
    shutil.rmtree(copy)


@pytest.fixture(scope="module")
def starting(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Fleet]]:
    """The fleet of the copy, which starts while other things are looked at."""
    state = tmp_path_factory.mktemp("state")
    with ThreadPoolExecutor(1) as threads:
        started = threads.submit(start_fleet, state, arguments=["--without-torch"], root=house)
        yield started
        assert started.result().stop() == 0


@pytest.mark.usefixtures("starting")
def test_it_is_clean_typed_and_keeps_to_the_import_rules(house: Path) -> None:
    assert "All checks passed" in run(["-m", "ruff", "check", *FOLDERS], folder=house)
    run(["-m", "ruff", "format", "--check", *FOLDERS], folder=house)
    contracts = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    assert " 0 broken" in run(["-c", contracts], folder=house)
    assert "Success" in run(["-m", "mypy", *FOLDERS], folder=house)


def test_its_own_tests_and_those_of_every_capability_pass(house: Path) -> None:
    quiet = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--show-capture=no", "--tb=short"]
    every = ["tests/unit/services/test_declarations.py", "tests/contract/test_every_route.py"]
    # What happens to a job of torch that is cancelled or whose worker is killed, tests of the toy capability show.
    chosen = f"({NAME} or knows_no_capability or holds_routes) and not (inversions and (cancelled or killed))"
    said = run([*quiet, "-k", chosen, *FOLDERS[1:], *every], folder=house)
    assert " passed" in said
    assert "skipped" not in said


def test_it_is_served_documented_and_worked_on(house: Path, starting: Future[Fleet]) -> None:
    sample_of = f"from services.{DOMAIN}.{NAME}.demo import noisy_image as make; print(make().hex())"
    sample = bytes.fromhex(run(["-c", sample_of], folder=house))
    with httpx.Client(base_url=starting.result().url, timeout=60, trust_env=False) as client:
        document = client.get("/openapi.json").json()
        assert {f"{PATH}/predictions", f"{PATH}/inversions"} <= set(document["paths"])
        assert NAME in {tag["name"] for tag in document["tags"]}
        answer = client.post(f"{PATH}/predictions", files={"file": sample})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"]["name"] == f"{NAME}-placeholder"
        job = client.post(f"{PATH}/predictions", files=[("file", sample)] * 2, headers={"Prefer": "wait=50"}).json()
        assert job["status"] == "succeeded", job
        file = client.get(f"/v1/jobs/{job['id']}/files/image-0002.png")
        shown = client.post(f"{PATH}/predictions", files={"file": sample}, headers={"Accept": "image/png"})
        assert file.content == shown.content
        assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
