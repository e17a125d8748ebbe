"""The commands on the page of bit-error campaigns do what it says, one after another, against the real fleet."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from services.security.bit_error_campaigns.demo import demo_files
from tests.e2e.fleet import Fleet

PAGE = Path(__file__).parents[2] / "services/security/bit_error_campaigns/README.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_commands_run_in_their_order_and_leave_a_report(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    for name, content in demo_files().items():
        (tmp_path / "demo" / name).write_bytes(content)
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        script = block.replace("http://127.0.0.1:8000", fleet.url)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr.decode()}\n{done.stdout.decode()[:500]}"
    assert json.loads((tmp_path / "report.json").read_bytes())["dataset"]["images"] == 120
    assert (tmp_path / "report.html").read_bytes().startswith(b"<!doctype html>")
    for name in ("curve.png", "layers.png", "bits.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
