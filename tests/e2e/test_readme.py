"""The README's commands do what it says: each `bash` block runs against the real fleet."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from services.declarations import declared_capabilities
from services.medical.low_dose_ct.demo import demo_files
from services.perception.classification.demo import sign_tensor, stop_sign
from services.perception.classification.own_model import own_models
from services.samples import sample_files
from services.uncertainty.conformal.demo import demo_files as conformal_files
from tests.e2e.fleet import Fleet

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "demo").mkdir()
    for name, content in (demo_files() | conformal_files()).items():
        (folder / "demo" / name).write_bytes(content)
    for name, content in sample_files(declared_capabilities()).items():
        (folder / "demo" / name).write_bytes(content)
    (folder / "demo" / "sign.png").write_bytes(stop_sign())
    (folder / "demo" / "sign.json").write_bytes(sign_tensor())
    for name, content in own_models().items():
        (folder / "demo" / name).write_bytes(content)
    return folder


def test_there_are_commands_to_run() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_command_succeeds(block: str, fleet: Fleet, workplace: Path) -> None:
    script = block.replace("http://127.0.0.1:8000", fleet.url)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=workplace, capture_output=True, timeout=120, check=False
    )

    assert done.returncode == 0, f"{block}\n{done.stderr.decode()}\n{done.stdout.decode()[:500]}"


def test_the_commands_leave_readable_files(workplace: Path) -> None:
    import json

    import numpy as np
    import pydicom

    assert (workplace / "reconstruction.png").read_bytes().startswith(b"\x89PNG")
    assert pydicom.dcmread(workplace / "enhanced.dcm").SeriesDescription.startswith("Facet")
    assert np.load(workplace / "sinogram.npy").shape == (1000, 513)
    assert (workplace / "explained.png").read_bytes().startswith(b"\x89PNG")
    assert np.load(workplace / "relevance.npy").shape == (1, 2, 32, 32)
    answer = json.loads((workplace / "shares.json").read_text())
    assert (answer["model_name"], answer["model_version"]) == ("colours", "1.0.0")
    assert np.allclose(answer["outputs"][0]["data"], np.exp([1.0, 0.5, 0.0]) / np.exp([1.0, 0.5, 0.0]).sum())
    assert np.load(workplace / "sets.npy").shape == (1000, 10)
    assert (workplace / "sizes.svg").read_bytes().startswith(b"<svg")
    assert (workplace / "protected.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((workplace / "campaign.json").read_text())["result"]["files"]["report.html"]["href"]
    assert (workplace / "stream.svg").read_bytes().count(b"<circle") == 3
