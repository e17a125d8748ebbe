"""Aliases and canaries decide which version answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from shared.problems import NotFound, ServiceUnavailable
from shared.request_context import bound, new_context
from shared.runtime.models.registry import ModelNote, ModelRegistry
from shared.runtime.models.version_routing import Canary, by_number, falls_to_canary, resolve
from tests.support.tiny_models import release

NAME = "low-dose-ct"


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        release(tmp_path, version=version)
    opened = ModelRegistry(tmp_path, threads=1)
    opened.open()
    return opened


def answering(registry: ModelRegistry, version: str | None = None, *, request_id: str | None = None) -> str:
    return registry.get(NAME, version, request_id=request_id).card.version


def test_versions_are_compared_by_number() -> None:
    assert max(["1.9.0", "1.10.0", "1.2.11"], key=by_number) == "1.10.0"


def test_without_an_alias_the_newest_answers(registry: ModelRegistry) -> None:
    assert answering(registry) == "1.10.0"
    assert [entry.card.version for entry in registry.entries if entry.is_default] == ["1.10.0"]


def test_aliases_stand_wherever_versions_do(registry: ModelRegistry) -> None:
    registry.direct({NAME: {"default": "1.0.0", "tried": "1.9.0"}}, {})
    assert (answering(registry), answering(registry, "default"), answering(registry, "tried")) == (
        "1.0.0",
        "1.0.0",
        "1.9.0",
    )
    assert answering(registry, "1.10.0") == "1.10.0"
    with pytest.raises(NotFound, match="low-dose-ct other"):
        registry.get(NAME, "other")
    registry.direct({}, {})
    assert answering(registry) == "1.10.0"


def test_a_default_that_is_not_open_is_not_replaced_in_silence(registry: ModelRegistry) -> None:
    registry.direct({NAME: {"default": "2.0.0"}}, {})
    registry.note(NAME, "2.0.0", ModelNote("loading", registry.get(NAME, "1.0.0").card))
    with pytest.raises(ServiceUnavailable, match=r"2\.0\.0 is not loaded: loading"):
        registry.get(NAME)


def test_a_canary_that_is_not_open_gets_nothing(registry: ModelRegistry) -> None:
    registry.direct({}, {NAME: Canary("2.0.0", 1.0)})
    assert answering(registry, request_id="any") == "1.10.0"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.99, 1.0])
def test_shares_are_kept(share: float) -> None:
    count = 20_000
    hits = sum(falls_to_canary(f"request-{number}", NAME, share) for number in range(count))
    assert abs(hits - count * share) <= 4 * math.sqrt(count * share * (1 - share))


def test_shares_of_two_models_are_independent() -> None:
    both = sum(
        falls_to_canary(str(number), "a", 0.5) and falls_to_canary(str(number), "b", 0.5) for number in range(10_000)
    )
    assert 2300 <= both <= 2700


def test_a_larger_share_keeps_whom_the_smaller_had() -> None:
    names = [str(number) for number in range(2000)]
    small = {name for name in names if falls_to_canary(name, NAME, 0.1)}
    assert small <= {name for name in names if falls_to_canary(name, NAME, 0.2)}


def test_the_request_at_hand_decides_where_no_id_is_given(registry: ModelRegistry) -> None:
    registry.direct({NAME: {"default": "1.0.0"}}, {NAME: Canary("1.10.0", 0.5)})
    for number in range(20):
        with bound(new_context(request_id=f"request-{number}")):
            expected = "1.10.0" if falls_to_canary(f"request-{number}", NAME, 0.5) else "1.0.0"
            assert answering(registry) == answering(registry) == expected
            assert answering(registry, "1.9.0") == "1.9.0"


def test_withdrawn_versions_are_gone_and_the_rest_moves_up(registry: ModelRegistry) -> None:
    withdrawn = registry.withdraw(NAME, "1.10.0")
    assert withdrawn is not None
    assert withdrawn.card.version == "1.10.0"
    assert answering(registry) == "1.9.0"
    assert registry.withdraw(NAME, "1.10.0") is None
    registry.add(withdrawn)
    assert answering(registry) == "1.10.0"


VERSIONS = ("0.9.0", "1.0.0", "1.2.0", "1.2.11", "1.10.0", "12.0.0")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("1", "1.10.0"),
        ("1.2", "1.2.11"),
        ("0", "0.9.0"),
        ("12", "12.0.0"),
        ("1.2.0", "1.2.0"),
        ("tried", "1.0.0"),
        ("gone", "9.9.9"),
        ("2", None),
        ("1.3", None),
        ("01", None),
        ("1.", None),
        ("", None),
        ("1.2.1", None),
        ("+1", None),
        ("newest", None),
        ("1" * 5000, None),
    ],
)
def test_the_beginning_of_a_version_is_the_newest_that_begins_so(asked: str, expected: str | None) -> None:
    assert resolve(asked, VERSIONS, {"tried": "1.0.0", "gone": "9.9.9"}) == expected


def test_the_newest_that_is_served_is_meant(registry: ModelRegistry) -> None:
    assert answering(registry, "1") == "1.10.0"
    card = registry.get(NAME, "1.10.0").card
    registry.withdraw(NAME, "1.10.0")
    registry.note(NAME, "1.10.0", ModelNote("unloaded", card))
    assert (answering(registry, "1"), answering(registry, "1.9")) == ("1.9.0", "1.9.0")
    with pytest.raises(ServiceUnavailable, match=r"1\.10\.0 is not loaded: unloaded"):
        registry.get(NAME, "1.10")
    with pytest.raises(NotFound, match=r"low-dose-ct 2"):
        registry.get(NAME, "2")
