"""Pauses between tries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.settings import Settings
from shared.webhooks.schedule import LONGEST_RETRY_AFTER_S, delay_s, parse_retry_after

SCHEDULE = (5.0, 30.0, 120.0)


def test_pauses_are_spread_over_the_whole_step() -> None:
    for tried, longest in enumerate(SCHEDULE, start=1):
        drawn = [delay_s(SCHEDULE, tried) or 0.0 for _ in range(2000)]
        assert 0 <= min(drawn) < 0.1 * longest
        assert 0.9 * longest < max(drawn) <= longest


def test_the_schedule_ends() -> None:
    assert delay_s(SCHEDULE, 4) is None
    assert delay_s(SCHEDULE, 4, retry_after_s=10) is None


def test_the_receivers_wish_lengthens_the_pause_within_bounds() -> None:
    assert delay_s(SCHEDULE, 1, retry_after_s=600) == 600
    assert (delay_s(SCHEDULE, 1, retry_after_s=0) or 0.0) <= 5
    assert delay_s(SCHEDULE, 1, retry_after_s=1e9) == LONGEST_RETRY_AFTER_S


def test_retry_after_is_a_number_or_a_date() -> None:
    assert parse_retry_after("120") == 120
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after(at) == pytest.approx(90, abs=5)
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1.5", "²", "Wed, 99 Oct 2015 07:28:00 GMT"])
def test_nonsense_is_no_wish(text: str | None) -> None:
    assert parse_retry_after(text) is None


def test_by_default_retries_go_on_for_hours_within_the_retention() -> None:
    settings = Settings(_env_file=None)
    assert sum(settings.webhook_retry_schedule_s) > 12 * 3600
    longest = sum(max(pause, LONGEST_RETRY_AFTER_S) for pause in settings.webhook_retry_schedule_s)
    assert longest < settings.webhook_retention_s


def test_lists_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8, ::1/128")
    monkeypatch.setenv("FACET_WEBHOOK_RETRY_SCHEDULE_S", "1,2.5")
    settings = Settings(_env_file=None)
    assert [str(network) for network in settings.webhook_allowed_networks] == ["10.0.0.0/8", "::1/128"]
    assert settings.webhook_retry_schedule_s == (1.0, 2.5)
