from __future__ import annotations

import pytest

from deploy.commands import HTTP_PROCESSES, WEIGHT_BY_WORKER, command_of


@pytest.mark.parametrize("name", HTTP_PROCESSES)
def test_http_processes_share_one_server(name: str) -> None:
    assert command_of(name)[1:] == ("-m", "deploy.serve", name)


def test_workers_are_told_their_weight() -> None:
    assert set(WEIGHT_BY_WORKER) == {"worker-onnx", "worker-torch"}
    assert command_of("worker-torch")[1:] == ("-m", "services.worker", "--weight", "torch")


def test_others_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'worker-tensorflow'; there are gateway, medical"):
        command_of("worker-tensorflow")
