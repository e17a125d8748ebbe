"""The field of an answer that tells of deprecated fields in the request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, Field

from shared.http.deprecation import deprecated_since, deprecation_headers


class Options(BaseModel):
    new: int = 0
    old: int | None = Field(default=None, json_schema_extra=deprecated_since(datetime(2026, 1, 2, tzinfo=UTC)))
    older: int | None = Field(default=None, json_schema_extra=deprecated_since(datetime(2025, 1, 2, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        ({}, {}),
        ({"new": 1}, {}),
        ({"old": 1}, {"Deprecation": "@1767312000"}),
        ({"older": 1}, {"Deprecation": "@1735776000"}),
        ({"older": 1, "old": 1, "new": 1}, {"Deprecation": "@1767312000"}),
    ],
)
def test_the_latest_date_of_what_was_sent(sent: dict[str, int], headers: dict[str, str]) -> None:
    assert deprecation_headers(Options(**sent)) == headers


def test_the_schema_says_so_too() -> None:
    properties = Options.model_json_schema()["properties"]
    assert [name for name, one in properties.items() if one.get("deprecated")] == ["old", "older"]
