from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.container import main, probe_of
from deploy.local.ports import free_ports
from shared.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["gateway", "security"])
def test_the_check_asks_the_process_of_the_container(name: str) -> None:
    (port,) = free_ports(1)
    settings = Settings(gateway_port=port, security_port=port)
    assert probe_of(name, settings)() == "does not answer yet"


def test_the_check_fails_where_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACET_PROCESS", "medical")
    monkeypatch.setenv("FACET_MEDICAL_PORT", str(free_ports(1)[0]))
    assert main(["check"]) == 1
    assert capsys.readouterr().out == "does not answer yet\n"


def test_an_unknown_process_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FACET_PROCESS", "gatewey")
    assert main([]) == 2
    assert "'gatewey'" in capsys.readouterr().err


def test_the_container_becomes_the_process() -> None:
    environment = os.environ | {"FACET_PROCESS": "gateway", "FACET_HOST": "0.0.0.0"}
    command = [sys.executable, "-m", "deploy.container"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "FACET_TRUSTED_NETWORK" in done.stderr
