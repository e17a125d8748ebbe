from __future__ import annotations

import pytest

from shared.jobs.cursors import decode_cursor, encode_cursor
from shared.jobs.identifiers import new_job_id
from shared.problems import UnprocessableContent


def test_a_cursor_comes_back_as_its_id() -> None:
    job_id = new_job_id()
    cursor = encode_cursor(job_id)
    assert cursor.replace("-", "").replace("_", "").isalnum(), "goes into a URL as it is"
    assert decode_cursor(cursor) == job_id


@pytest.mark.parametrize("cursor", ["", "x", "made up", "AAAA", "é", encode_cursor("no id"), encode_cursor("a" * 36)])
def test_anything_else_is_refused_with_a_pointer(cursor: str) -> None:
    with pytest.raises(UnprocessableContent) as refusal:
        decode_cursor(cursor)
    assert refusal.value.errors[0].pointer == "/query/cursor"
