from __future__ import annotations

import pytest

from deploy.local.workers import declared_weights, worker_weights
from services.kinds import all_kinds
from services.kinds import declared_weights as weights_of

TORCH_KINDS = "tests.integration.jobs.job_kinds"


def test_the_declared_kinds_decide() -> None:
    assert declared_weights() == weights_of(all_kinds())


def test_a_kind_that_needs_torch_brings_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_WORKER_KINDS", TORCH_KINDS)
    said: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert worker_weights(without_torch=False, say=said.append) == ("onnx", "torch")
    assert worker_weights(without_torch=True, say=said.append) == ("onnx",)
    assert said == []


def test_a_missing_torch_is_told_where_a_kind_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_WORKER_KINDS", TORCH_KINDS)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said: list[str] = []
    assert worker_weights(without_torch=False, say=said.append) == ("onnx",)
    assert "make run TORCH=1" in said[0]
