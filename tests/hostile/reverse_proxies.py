"""nginx and Caddy as deploy/reverse_proxy configures them: the shipped files, with addresses and paths of a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.hostile.processes import ROOT, answers, free_port, running, wait_until

SHIPPED = ROOT / "deploy/reverse_proxy"


@contextmanager
def nginx_running(folder: Path, gateway_port: int, *marks: str) -> Iterator[int]:
    """Start it without being a service of the system; yields its port.

    Args:
        folder: empty, for its files.
        gateway_port: of the gateway.
        marks: whose lines are taken in, such as "#prefix ".
    """
    port = free_port()
    replaced = {
        "127.0.0.1:8000": f"127.0.0.1:{gateway_port}",
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/log/nginx/": f"{folder}/",
        "/var/lib/nginx/": f"{folder}/",
    }
    configuration = _configuration("nginx.conf", folder, replaced, marks)
    command = [_program("nginx"), "-e", f"{folder}/error.log", "-c", str(configuration), "-g", "daemon off;"]
    with _serving(command, folder / "nginx.log", {}, port):
        yield port


@contextmanager
def caddy_running(folder: Path, gateway_port: int, *marks: str, longest_request: str = "30m") -> Iterator[int]:
    """As `nginx_running`.

    Args:
        folder: empty, for its files.
        gateway_port: of the gateway.
        marks: whose lines are taken in.
        longest_request: as Caddy writes times.
    """
    port = free_port()
    configuration = _configuration("Caddyfile", folder, {}, marks)
    environment = {
        "PROXY_ADDRESS": f"http://:{port}",
        "PROXY_ADMIN": "off",
        "PROXY_LONGEST_REQUEST": longest_request,
        "GATEWAY_ADDRESS": f"127.0.0.1:{gateway_port}",
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    command = [_program("caddy"), "run", "--config", str(configuration), "--adapter", "caddyfile"]
    with _serving(command, folder / "caddy.log", environment, port):
        yield port


PROXIES: Mapping[str, Callable[..., AbstractContextManager[int]]] = {"nginx": nginx_running, "caddy": caddy_running}
"""By the name of the program."""


def installed(name: str) -> bool:
    """Whether the program is there, in the path or where Debian has what is for root."""
    return _program(name) != ""


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where the program is not there."""
    return pytest.mark.skipif(not installed(name), reason=f"needs {name}")


def _program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or ""


def _configuration(name: str, folder: Path, replaced: Mapping[str, str], marks: tuple[str, ...]) -> Path:
    text = (SHIPPED / name).read_text(encoding="utf-8")
    # Comments name addresses as well, but for readers.
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    text = "\n".join([*lines, ""])
    for shipped, own in replaced.items():
        assert shipped in text, f"{name} has no {shipped}"
        text = text.replace(shipped, own)
    for mark in marks:
        assert mark in text, f"{name} has no {mark}"
        text = text.replace(mark, "")
    written = folder / name
    written.write_text(text, encoding="utf-8")
    return written


@contextmanager
def _serving(command: list[str], log: Path, environment: Mapping[str, str], port: int) -> Iterator[None]:
    with running(command, log, environment) as process:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health/live"), process)
        yield
