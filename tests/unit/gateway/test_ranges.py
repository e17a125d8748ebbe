from __future__ import annotations

import pytest

from gateway.job_routes.ranges import is_unchanged, requested_part
from shared.problems import RangeNotSatisfiable

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("given", "start", "stop"),
    [
        ("bytes=0-0", 0, 1), ("bytes=0-9", 0, 10), ("bytes=5-", 5, 10), ("bytes=5-99", 5, 10), ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10), ("Bytes = 2-4", 2, 5), ("bytes=9-", 9, 10),
    ],
)  # fmt: skip
def test_a_part_is_cut_as_rfc_9110_says(given: str, start: int, stop: int) -> None:
    part = requested_part(given, None, etag=ETAG, size=10)
    assert part is not None
    assert (part.start, part.stop, part.content_range) == (start, stop, f"bytes {start}-{stop - 1}/10")


@pytest.mark.parametrize(
    "given", [None, "", "bytes=", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=4-2", "bytes=--1"]
)
def test_other_wishes_are_answered_with_the_whole(given: str | None) -> None:
    assert requested_part(given, None, etag=ETAG, size=10) is None


@pytest.mark.parametrize(("given", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_what_lies_behind_the_end_is_416(given: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        requested_part(given, None, etag=ETAG, size=size)
    assert raised.value.headers["Content-Range"] == f"bytes */{size}"


def test_if_range_asks_for_the_part_of_this_file_only() -> None:
    assert requested_part("bytes=2-", ETAG, etag=ETAG, size=10) is not None
    for other in ('"other"', f"W/{ETAG}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert requested_part("bytes=2-", other, etag=ETAG, size=10) is None
        assert requested_part("bytes=99-", other, etag=ETAG, size=10) is None


def test_if_none_match_compares_weakly() -> None:
    for same in (ETAG, f"W/{ETAG}", f'"x", {ETAG}', "*"):
        assert is_unchanged(same, ETAG)
    for other in (None, "", '"x"', "abc"):
        assert not is_unchanged(other, ETAG)
