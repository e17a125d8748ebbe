from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.access.keys import ApiKey, parse_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # sha256 of "secret", from coreutils


def key(*, expires_at: datetime | None = None, revoked_at: datetime | None = None) -> ApiKey:
    times = {"created_at": NOW, "expires_at": expires_at, "revoked_at": revoked_at}
    return ApiKey(id="0" * 12, owner="ada", scopes=("admin",), digest=DIGEST, **times)  # type: ignore[arg-type]


def test_the_secret_proves_it() -> None:
    assert key().proves("secret")
    assert not key().proves("Secret")


def test_a_key_is_good_until_it_expires_or_is_revoked() -> None:
    assert key().fault(NOW) is None
    later = key(expires_at=NOW + timedelta(seconds=1))
    assert later.fault(NOW) is None
    assert later.fault(NOW + timedelta(seconds=1)) == "has expired"
    assert key(revoked_at=NOW).fault(NOW) == "was revoked"


@pytest.mark.parametrize(
    "text", ["", "facet_", "facet_012_secret", "other_0123456789ab_" + "s" * 43, "facet_0123456789AB_" + "s" * 43]
)
def test_what_is_no_key(text: str) -> None:
    assert parse_key(text) is None


def test_a_secret_may_hold_underscores() -> None:
    assert parse_key("facet_0123456789ab_" + "_" * 43) == ("0123456789ab", "_" * 43)
