from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.preferences import Preferences, parse_prefer


def parse(*headers: str) -> Preferences:
    return parse_prefer(headers, longest_wait_s=60)


@pytest.mark.parametrize(
    ("headers", "respond_async", "wait_s"),
    [
        ((), False, None),
        (("",), False, None),
        (("respond-async",), True, None),
        (("wait=10",), False, 10),
        (("respond-async, wait=10",), True, 10),
        (("wait=10 , respond-async",), True, 10),
        (("respond-async", "wait=5"), True, 5),
        (("Respond-Async, WAIT=7",), True, 7),
        (('wait="12"',), False, 12),
        (("wait = 12",), False, 12),
        (("respond-async; foo=bar, wait=3; x",), True, 3),
        (('foo="a, wait=9", wait=4',), False, 4),
        (('foo="\\", respond-async", wait=4',), False, 4),
        (("return=minimal, handling=lenient",), False, None),
        (("wait=0",), False, 0),
    ],
)
def test_preferences_are_read(headers: tuple[str, ...], respond_async: bool, wait_s: int | None) -> None:
    assert parse(*headers) == Preferences(respond_async=respond_async, wait_s=wait_s)


def test_the_first_mention_wins() -> None:
    assert parse("wait=1, wait=2").wait_s == 1
    assert parse("wait=1", "wait=2").wait_s == 1


def test_long_waits_are_shortened() -> None:
    assert parse("wait=3600").wait_s == 60


@pytest.mark.parametrize("value", ["-1", "1.5", "soon", "", "٣", "1e3", "9" * 5000])
def test_waits_that_are_no_number_of_seconds_are_ignored(value: str) -> None:
    assert parse(f"wait={value}").wait_s is None


def test_what_was_applied_is_told() -> None:
    assert parse("respond-async, wait=5").applied() == "respond-async, wait=5"
    assert parse("wait=100").applied() == "wait=60"
    assert parse("wait=0").applied() == "wait=0"
    assert parse("return=minimal").applied() is None


@given(st.lists(st.text(alphabet=' ,;="\\aw1', max_size=60), max_size=4))
def test_anything_is_read_without_failing(headers: list[str]) -> None:
    assert isinstance(parse(*headers), Preferences)


@pytest.mark.parametrize("part", ['"', '"\\', 'a"', '",', '"\\"', ",", "\\", '";"'])
def test_hostile_headers_take_no_time_to_speak_of(part: str) -> None:
    parse(part * 16_000)  # a minute, should the expression backtrack
