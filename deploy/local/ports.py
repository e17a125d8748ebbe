"""Ports are looked at before anything starts, so that a taken one is a sentence and not a stack trace."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack


class PortsTaken(Exception):
    """Some ports are in use; the message names them and the settings that change them."""


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on this port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of the last run that still linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface that nothing listens on at this moment."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def require_free(wanted: Mapping[str, tuple[str, int]]) -> None:
    """Check that all ports can be had.

    Args:
        wanted: host and port by the name of the setting that holds the port.

    Raises:
        PortsTaken: at least one cannot, or two settings name the same.
    """
    lines = [
        f"port {port} on {host} is in use; set {setting} to a free port"
        for setting, (host, port) in wanted.items()
        if not is_free(host, port)
    ]
    seen: dict[int, str] = {}
    for setting, (_, port) in wanted.items():
        if port in seen:
            lines.append(f"port {port} is given twice, by {seen[port]} and {setting}")
        seen[port] = setting
    if lines:
        raise PortsTaken("; ".join(lines) + ". Nothing was started.")
