from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.identifiers import is_job_id, new_job_id

NANOSECONDS = st.integers(min_value=0, max_value=(1 << 48) * 1_000_000 - 1)
RESOLUTION_NS = 1_000_000 // 4096 + 1


def test_the_layout_is_that_of_rfc_9562() -> None:
    # The timestamp of the RFC's example in appendix A.6: 0x017F22E279B0 ms.
    assert new_job_id(0x017F22E279B0 * 1_000_000).startswith("017f22e2-79b0-7000-")


@given(NANOSECONDS)
def test_ids_are_uuids_of_version_7(nanoseconds: int) -> None:
    job_id = new_job_id(nanoseconds)
    value = UUID(job_id)
    assert (value.version, value.variant) == (7, "specified in RFC 4122")
    assert value.int >> 80 == nanoseconds // 1_000_000
    assert is_job_id(job_id)


@given(NANOSECONDS, st.integers(min_value=RESOLUTION_NS, max_value=10**12))
def test_ids_sort_by_time(earlier: int, by: int) -> None:
    later = min(earlier + by, (1 << 48) * 1_000_000 - 1)
    if later - earlier >= RESOLUTION_NS:
        assert new_job_id(earlier) < new_job_id(later)


def test_ids_differ() -> None:
    assert len({new_job_id(0) for _ in range(1000)}) == 1000


def test_other_text_is_no_id() -> None:
    for text in ("", "../events", "facet", new_job_id().upper(), new_job_id() + "\n", str(UUID(int=0))):
        assert not is_job_id(text)
