"""The commands of the README and of all pages do what they say: each block runs against the real fleet."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from services.declarations import declared_capabilities
from services.medical.low_dose_ct.demo import demo_files
from services.perception.classification.demo import sign_tensor, stop_sign
from services.perception.classification.own_model import own_models
from services.samples import sample_files
from services.uncertainty.conformal.demo import demo_files as conformal_files
from tests.e2e.fleet import Fleet

ROOT = Path(__file__).parents[2]
CAPABILITIES = sorted(path.with_name("README.md") for path in ROOT.glob("services/*/*/capability.py"))
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *CAPABILITIES]
SETTING_UP = re.compile(r"^make (\S+)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands of a page.

    Attributes:
        page: where they stand.
        number: which block of it.
        text: the commands.
    """

    page: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        found = re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        yield from (Block(page, number, text) for number, text in enumerate(found))


BLOCKS = list(blocks())


@pytest.fixture(scope="module")
def demo() -> dict[str, bytes]:
    """What `make demo` writes."""
    files = demo_files() | conformal_files() | sample_files(declared_capabilities()) | own_models()
    return {**files, "sign.png": stop_sign(), "sign.json": sign_tensor()}


@pytest.fixture(scope="module")
def workplaces(tmp_path_factory: pytest.TempPathFactory, demo: dict[str, bytes]) -> dict[Path, Path]:
    """A folder for each page, with the files of the demo and the virtual environment that the tests run in."""
    found = {}
    for page in PAGES:
        folder = found[page] = tmp_path_factory.mktemp("page")
        (folder / "demo").mkdir()
        (folder / ".venv").symlink_to(sys.prefix)
        for name, content in demo.items():
            (folder / "demo" / name).write_bytes(content)
    return found


def test_every_page_is_looked_at() -> None:
    pages = {block.page.parent.name if block.page.name == "README.md" else block.page.stem for block in BLOCKS}
    assert {"low_dose_ct", "classification", "explanation", "conformal", "jobs", "own-models", "security"} <= pages


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_succeed(block: Block, fleet: Fleet, workplaces: dict[Path, Path]) -> None:
    if named := SETTING_UP.findall(block.text):
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert set(named) <= set(targets)
        return
    script = block.text.replace("http://127.0.0.1:8000", fleet.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=workplaces[block.page],
        capture_output=True,
        timeout=120,
        check=False,
        env=os.environ | {"FACET_REDIS_URL": fleet.facts["redis_url"], "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{block.text}\n{done.stderr.decode()}\n{done.stdout.decode()[:500]}"


def test_they_leave_what_they_promise(workplaces: dict[Path, Path]) -> None:
    places = {str(page.relative_to(ROOT)): folder for page, folder in workplaces.items()}
    first = places["README.md"]
    for name in ("reconstruction.png", "explained.png"):
        assert (first / name).read_bytes().startswith(b"\x89PNG")
    ct = places["services/medical/low_dose_ct/README.md"]
    assert pydicom.dcmread(ct / "enhanced.dcm").SeriesDescription.startswith("Facet")
    assert np.load(ct / "sinogram.npy").shape == (1000, 513)
    assert np.load(places["services/uncertainty/explanation/README.md"] / "relevance.npy").shape == (1, 2, 32, 32)
    answer = json.loads((places["docs/own-models.md"] / "shares.json").read_text())
    assert (answer["model_name"], answer["model_version"]) == ("colours", "1.0.0")
    assert np.allclose(answer["outputs"][0]["data"], np.exp([1.0, 0.5, 0.0]) / np.exp([1.0, 0.5, 0.0]).sum())
    conformal = places["services/uncertainty/conformal/README.md"]
    assert np.load(conformal / "sets.npy").shape == (1000, 10)
    assert (conformal / "sizes.svg").read_bytes().startswith(b"<svg")
    assert (conformal / "stream.svg").read_bytes().count(b"<circle") == 3
    assert (places["services/security/neuralfuse/README.md"] / "protected.png").read_bytes().startswith(b"\x89PNG")
    campaign = places["services/security/bit_error_campaigns/README.md"]
    assert json.loads((campaign / "report.json").read_bytes())["dataset"]["images"] == 120
    assert (campaign / "report.html").read_bytes().startswith(b"<!doctype html>")
    for name in ("curve.png", "layers.png", "bits.png"):
        assert (campaign / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180
