from __future__ import annotations

import pytest

from shared.jobs.events import BEGINNING, parse_event_id
from shared.problems import BadRequest


@pytest.mark.parametrize("header", [None, ""])
def test_nothing_said_means_from_the_beginning(header: str | None) -> None:
    assert parse_event_id(header) == BEGINNING


def test_an_event_id_stays_as_it_is() -> None:
    assert parse_event_id("1754300000000-3") == "1754300000000-3"


@pytest.mark.parametrize("header", ["5", "$", "+", "-", "1-2-3", "1 - 2", "a-b", "1754300000000-3\n", "9" * 40 + "-0"])
def test_other_text_is_refused(header: str) -> None:
    with pytest.raises(BadRequest, match="Last-Event-ID"):
        parse_event_id(header)
