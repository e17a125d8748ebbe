from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.__main__ import AlreadyRunning, claimed, main, parse

CLAIM = """
import pathlib, sys
from deploy.local.__main__ import claimed
with claimed(pathlib.Path(sys.argv[1])):
    pass
"""


def test_defaults() -> None:
    options = parse([])
    assert (options.port, options.free_ports, options.without_torch) == (None, False, False)
    assert options.state == Path(".facet")


def test_one_folder_serves_one_fleet(tmp_path: Path) -> None:
    with claimed(tmp_path):
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"), claimed(tmp_path):
            pass
        other = subprocess.run(
            [sys.executable, "-c", CLAIM, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert "AlreadyRunning" in other.stderr
    with claimed(tmp_path):
        pass


def test_wrong_settings_are_a_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACET_HOST", "0.0.0.0")
    assert main(["--state", str(tmp_path)]) == 2
    assert "cannot start: FACET_HOST=0.0.0.0" in capsys.readouterr().out


def test_unreadable_kinds_of_job_are_a_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACET_WORKER_KINDS", "no.such.module")
    assert main(["--state", str(tmp_path), "--free-ports"]) == 2
    assert "the capabilities cannot be read: ModuleNotFoundError" in capsys.readouterr().out


def test_a_wrong_setting_of_a_capability_is_a_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACET_CONFORMAL_HISTORY", "0")
    assert main(["--state", str(tmp_path), "--free-ports"]) == 2
    said = capsys.readouterr().out
    assert "ConformalSettings history" in said
    assert "greater than or equal to 1" in said
