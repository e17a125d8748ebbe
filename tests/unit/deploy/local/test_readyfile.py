from __future__ import annotations

import json
from pathlib import Path

from deploy.local.readyfile import write_ready_file


def test_it_is_written_whole_and_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    write_ready_file(path, {"pids": {"redis": 1}})
    write_ready_file(path, {"pids": {"redis": 2}})
    assert json.loads(path.read_text()) == {"pids": {"redis": 2}}
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
