from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy import container
from deploy.local.ports import free_ports

ROOT = Path(__file__).parents[3]


class _Live(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def live_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Live) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.container", *arguments]
    told = os.environ | {"TMPDIR": str(tmp_path)} | environment
    return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)


def test_the_container_becomes_its_process_and_notes_the_port(tmp_path: Path) -> None:
    done = run(tmp_path, FACET_PROCESS="security", FACET_SECURITY_PORT="4321", FACET_HOST="0.0.0.0")
    assert done.returncode == 2  # the process itself refuses to be open to strangers
    assert "FACET_TRUSTED_NETWORK" in done.stderr
    assert (tmp_path / "facet-check").read_text() == "4321"


def test_the_check_asks_the_noted_port(tmp_path: Path, live_port: int) -> None:
    (tmp_path / "facet-check").write_text(str(live_port))
    done = run(tmp_path, "check")
    assert (done.returncode, done.stdout) == (0, "well\n")


def test_the_check_loads_neither_settings_nor_clients() -> None:
    code = "import sys, deploy.container; print({'pydantic', 'redis', 'uvicorn'} & set(sys.modules) or 'light')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "light\n"


def test_silence_is_unhealthy(tmp_path: Path) -> None:
    (tmp_path / "facet-check").write_text(str(free_ports(1)[0]))
    done = run(tmp_path, "check")
    assert (done.returncode, done.stdout) == (1, "does not answer (ConnectionRefusedError)\n")


def test_a_worker_is_not_blamed_for_a_missing_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_REDIS_URL", f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    assert container.check("onnx") is None


def test_an_unknown_process_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FACET_PROCESS", "gatewey")
    assert container.main([]) == 2
    assert "'gatewey'" in capsys.readouterr().err


def test_the_process_gets_the_allocators_variables_unless_the_operator_has_his_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(container, "NOTE", tmp_path / "note")
    monkeypatch.setattr("os.execve", lambda _path, _command, environment: started.append(dict(environment)))
    become: Callable[[str], object] = container.become  # returns here, as nothing is replaced
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    become("gateway")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    become("gateway")
    assert [environment["MALLOC_ARENA_MAX"] for environment in started] == ["2", "4"]
