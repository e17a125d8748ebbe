from __future__ import annotations

import pytest

from gateway.idempotency.runner import parse_key
from shared.problems import BadRequest


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('  "a b"  ', "a b"),
        (r'"say \"yes\" \\ no"', r'say "yes" \ no'),
        ("8e03978e-40d5", "8e03978e-40d5"),
        ('"' + "k" * 255 + '"', "k" * 255),
    ],
)
def test_what_is_a_key(given: str, key: str) -> None:
    assert parse_key([given]) == key


@pytest.mark.parametrize(
    "given",
    [
        [""],
        ['""'],
        ["two words"],
        ['"open'],
        ['"a"b"'],
        ["schl\u00fcssel"],
        ['"' + "k" * 256 + '"'],
        ["k" * 256],
        ["a", "a"],
    ],
)
def test_what_is_none(given: list[str]) -> None:
    with pytest.raises(BadRequest, match="Idempotency-Key"):
        parse_key(given)
