"""The page of NeuralFuse: each command runs as it stands, against the service on a socket with toy releases."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest

import services.security.neuralfuse
from services.security.app import create_app
from services.security.neuralfuse.demo import stop_sign
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.settings import Settings
from tests.integration.gateway.servers import serve
from tests.support.addresses import NO_REDIS
from tests.support.capability import write_model
from tests.support.neuralfuse_models import base_card, float_model, release_base, release_generators
from tests.support.serving import FLEET_TOKEN

PAGE = Path(services.security.neuralfuse.__file__).with_name("README.md")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)

BASE, GENERATORS = "signs-vgg11-int8", ("neuralfuse-unetl-vgg11", "neuralfuse-unets-vgg11")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    security = folder / "models" / "security"
    release_generators(security, release_base(security, name=BASE), base=BASE, names=GENERATORS)
    other = float_model()
    write_model(folder / "models" / "perception", base_card(other, name="traffic-signs", network=None), other)
    values = {"redis_url": NO_REDIS, "blob_url": str(folder / "blobs"), "models": folder / "models"}
    with serve(create_app(Settings.model_validate({**values, "fleet_token": FLEET_TOKEN}))) as started:
        ready = f"until [ $(curl -s {started}/health/ready | grep -c 'models are loading') = 0 ]; do sleep 0.05; done"
        subprocess.run(["bash", "-c", ready], check=True, timeout=60)
        yield started


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "demo").mkdir()
    (folder / "demo" / "low-voltage-sign.png").write_bytes(stop_sign())
    return folder


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_command_succeeds(block: str, url: str, workplace: Path) -> None:
    asked = f"curl -sSf -H '{FLEET_TOKEN_HEADER}: {FLEET_TOKEN}'"
    script = block.replace("http://127.0.0.1:8000", url).replace("curl -sS --fail-with-body", asked)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=workplace, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stderr.decode()}\n{done.stdout.decode()[:500]}"
    if "prediction.json" in block:
        said = done.stdout.decode()
        assert re.search(r"^unprotected +nominal: .+ \d+%   low voltage: .+, \d+% of chips agree", said, re.MULTILINE)
        assert "saved by published weight accesses: 17.0 %" in said


def test_the_commands_leave_readable_files(workplace: Path) -> None:
    assert len(BLOCKS) == 5
    assert json.loads((workplace / "prediction.json").read_text())["model"]["name"] == BASE
    assert (workplace / "protected.png").read_bytes().startswith(b"\x89PNG")
    fused = onnxruntime.InferenceSession((workplace / "fused.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    assert [one.name for one in fused.get_inputs()] == ["pictures"]
