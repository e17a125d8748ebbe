"""The page of captions: each command runs as it stands, against the service on a socket."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import services.perception.captioning
from services.perception.captioning.demo import HEIGHT, WIDTH, meadow
from services.perception.captioning.roles import DecoderRole, read_role
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.settings import Settings
from tests.integration.captioning.conftest import create_app
from tests.integration.gateway.servers import serve
from tests.support.addresses import NO_REDIS
from tests.support.serving import FLEET_TOKEN

PAGE = Path(services.perception.captioning.__file__).with_name("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    values = {"redis_url": NO_REDIS, "blob_url": str(folder / "blobs"), "models": folder / "models"}
    with serve(create_app(Settings.model_validate({**values, "fleet_token": FLEET_TOKEN}))) as started:
        ready = f"until [ $(curl -s {started}/health/ready | grep -c 'models are loading') = 0 ]; do sleep 0.05; done"
        subprocess.run(["bash", "-c", ready], check=True, timeout=60)
        yield started


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "demo").mkdir()
    (folder / "demo" / "meadow.png").write_bytes(meadow())
    return folder


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_command_succeeds(block: str, url: str, workplace: Path) -> None:
    asked = f"curl -sSf -H '{FLEET_TOKEN_HEADER}: {FLEET_TOKEN}'"
    script = block.replace("http://127.0.0.1:8000", url).replace("curl -sf", asked)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=workplace, capture_output=True, timeout=120, check=False
    )
    said = done.stdout.decode()
    assert done.returncode == 0, f"{block}\n{done.stderr.decode()}\n{said[:500]}"
    if "captions.json" in block:
        assert len(re.findall(r"^ +-\d+\.\d\d  \S+", said, re.MULTILINE)) == 3
    if "values.json" in block:
        places = re.findall(r"most at x (\d+), y (\d+)$", said, re.MULTILINE)
        assert places
        assert all(0 < int(x) < WIDTH and 0 < int(y) < HEIGHT for x, y in places)


def test_the_commands_leave_maps_of_the_picture(workplace: Path) -> None:
    assert len(BLOCKS) == 4
    words = json.loads((workplace / "maps.json").read_text())["pictures"][0]["captions"][0]["words"]
    maps = sorted(workplace.glob("map-*.png"))
    assert len(maps) == len(words) > 0
    with Image.open(maps[0]) as image:
        assert image.size == (WIDTH, HEIGHT)


def test_the_parameters_that_it_shows_are_those_of_a_decoder() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    role = read_role(json.loads(shown.replace('"..."', f'"{"0" * 64}"')))
    assert isinstance(role, DecoderRole)
    assert role.join(role.words[4:]) == "a dog"


def test_the_sample_is_the_same_each_time() -> None:
    assert meadow() == meadow()
