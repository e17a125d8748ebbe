from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from deploy.local.ports import PortsTaken, free_ports, is_free, require_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_listener_takes_its_port(taken: int) -> None:
    assert not is_free("127.0.0.1", taken)


def test_a_port_is_free_again_right_after_a_connection_was_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # the server's side lingers in TIME_WAIT
    assert is_free("127.0.0.1", port)


def test_free_ports_differ_and_can_be_had() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert all(is_free("127.0.0.1", port) for port in ports)


def test_the_message_names_port_and_setting(taken: int) -> None:
    (other,) = free_ports(1)
    wanted = {"FACET_GATEWAY_PORT": ("127.0.0.1", taken), "FACET_MEDICAL_PORT": ("127.0.0.1", other)}
    with pytest.raises(PortsTaken, match=f"port {taken} .*set FACET_GATEWAY_PORT") as caught:
        require_free(wanted)
    assert "FACET_MEDICAL_PORT" not in str(caught.value)


def test_one_port_for_two_is_refused() -> None:
    (port,) = free_ports(1)
    with pytest.raises(PortsTaken, match=r"given twice, by FACET_A_PORT and FACET_B_PORT"):
        require_free({"FACET_A_PORT": ("127.0.0.1", port), "FACET_B_PORT": ("127.0.0.1", port)})
