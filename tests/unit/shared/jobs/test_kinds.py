from __future__ import annotations

import math

import pytest

from services.declarations import declared_capabilities
from shared.jobs.kinds import HARD_LIMIT_MARGIN_S, JobKind, JobKinds, queues_of
from shared.settings import DOMAINS, Settings


def kind(name: str = "a.b", function: str = "math:sqrt", time_limit_s: int = 60) -> JobKind:
    return JobKind(name=name, queue="medical.onnx", function=function, title="A", time_limit_s=time_limit_s)


def test_a_function_is_found_by_its_path() -> None:
    found: object = kind().load()
    assert found is math.sqrt


@pytest.mark.parametrize("function", ["math.sqrt", "a:b:c", ""])
def test_a_path_of_another_form_is_refused(function: str) -> None:
    with pytest.raises(ValueError, match="module:name"):
        kind(function=function)


def test_a_limit_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        kind(time_limit_s=0)


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match=r"a\.b"):
        JobKinds([kind(), kind()])


def test_registry_finds_kinds_by_name() -> None:
    kinds = JobKinds([kind(), kind("c.d")])
    assert [found.name for found in kinds] == ["a.b", "c.d"]
    assert kinds["c.d"].name == "c.d"
    assert "c.d" in kinds
    assert "e.f" not in kinds


def test_even_the_hard_limit_must_be_below_the_visibility_timeout() -> None:
    JobKinds([kind(time_limit_s=99)]).check_time_limits(100 + HARD_LIMIT_MARGIN_S)
    with pytest.raises(ValueError, match=r"a\.b"):
        JobKinds([kind(time_limit_s=100)]).check_time_limits(100 + HARD_LIMIT_MARGIN_S)


def test_the_fleets_kinds_load_and_fit_the_settings() -> None:
    kinds = JobKinds(declared_capabilities().kinds)
    kinds.check_time_limits(Settings.model_fields["visibility_timeout_s"].default)
    queues = {*queues_of("onnx"), *queues_of("torch")}
    assert len(queues) == 2 * len(DOMAINS)
    for found in kinds:
        assert found.queue in queues
        assert callable(found.load())
