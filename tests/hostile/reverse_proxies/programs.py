"""nginx and Caddy as deploy/reverse_proxy configures them: the shipped files, with addresses and paths of a test."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.hostile.processes import ROOT, free_port, running, wait_until

_USER = "user root;" if os.geteuid() == 0 else ""
"""Of nginx's workers, which else would not get into a folder of this user's."""

SHIPPED = ROOT / "deploy/reverse_proxy"

PREFIX = "#prefix "
"""Before the lines that serve below /facet."""

TLS = "#tls "
"""Before the lines that want a certificate, privkey.pem and fullchain.pem in the folder of a test."""


@contextmanager
def nginx_running(folder: Path, gateway_port: int, *marks: str) -> Iterator[int]:
    """Start it without being a service of the system; yields its port.

    Args:
        folder: empty, for its files.
        gateway_port: of the gateway.
        marks: whose lines are taken in, `PREFIX` or `TLS`.
    """
    port = free_port()
    replaced = {
        "127.0.0.1:8000": f"127.0.0.1:{gateway_port}",
        "127.0.0.1:8080": f"127.0.0.1:{free_port() if TLS in marks else port}",
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/facet/": f"{folder}/",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/log/nginx/": f"{folder}/",
        "/var/lib/nginx/": f"{folder}/",
    }
    configuration = _configuration("nginx.conf", folder, replaced, marks)
    command = [_program("nginx"), "-e", f"{folder}/error.log", "-c", str(configuration), "-g", f"daemon off; {_USER}"]
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
    configuration = _configuration("Caddyfile", folder, {"/etc/ssl/facet/": f"{folder}/"}, marks)
    environment = {
        "PROXY_ADDRESS": f"https://localhost:{port}" if TLS in marks else f"http://:{port}",
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


def _configuration(name: str, folder: Path, replaced: Mapping[str, str], marks: Sequence[str]) -> Path:
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
def _serving(command: Sequence[str], log: Path, environment: Mapping[str, str], port: int) -> Iterator[None]:
    with running(command, log, environment) as process:
        wait_until(lambda: _listens(port), process)
        yield


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
