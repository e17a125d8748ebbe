from __future__ import annotations

import asyncio

import pytest

from shared.request_context import (
    RequestContext,
    bound,
    current_context,
    log_bindings,
    new_context,
    path_prefix,
    public_path,
)

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"  # the example of W3C Trace Context
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def test_a_safe_request_id_is_kept() -> None:
    for given in (
        "a",
        "A-b_c.9",
        "x" * 128,
        "Root=1-67891233-abcdef012345678912345678",
        "q83vEiM0RVZneJ+/==",
        "a:b|c@d[0]",
    ):
        assert new_context(request_id=given).request_id == given


@pytest.mark.parametrize(
    "given", [None, "", "x" * 129, "a b", "a\nb", "a\n", "naïve", "<script>", "a;b", "٣", 'a"b', "a\\b", "a,b"]
)
def test_other_request_ids_are_replaced(given: str | None) -> None:
    made = new_context(request_id=given).request_id
    assert made != given
    assert len(made) == 32
    assert int(made, 16) >= 0


def test_a_trace_is_continued_with_a_span_of_its_own() -> None:
    context = new_context(traceparent=TRACEPARENT, tracestate="rojo=00f067aa0ba902b7")
    assert context.trace_id == TRACE
    assert context.span_id != PARENT
    assert context.traceparent == f"00-{TRACE}-{context.span_id}-01"
    assert context.tracestate == "rojo=00f067aa0ba902b7"


@pytest.mark.parametrize(
    "given",
    [
        None, "", "nonsense", TRACEPARENT.upper(), f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01", f"{TRACEPARENT}-extra", f"00-{TRACE[:-1]}-{PARENT}-01", f"{TRACEPARENT}\n",
        f"00-{TRACE}-{PARENT}-0G", f"01-{TRACE}-{PARENT}-01extra", f"cc-{TRACE}-{PARENT}-1",
        f"01-{'0' * 32}-{PARENT}-01",
    ],
)  # fmt: skip
def test_an_invalid_trace_starts_a_new_one_and_drops_its_state(given: str | None) -> None:
    context = new_context(traceparent=given, tracestate="rojo=1")
    assert context.trace_id != TRACE
    assert len(context.trace_id) == 32
    assert len(context.span_id) == 16
    assert context.trace_flags == "00"
    assert context.tracestate is None


@pytest.mark.parametrize(
    ("given", "flags"), [(f"01-{TRACE}-{PARENT}-01", "01"), (f"cc-{TRACE}-{PARENT}-ff-what-is-to-come", "01"),
                         (f"02-{TRACE}-{PARENT}-02", "00")],
)  # fmt: skip
def test_of_a_later_version_of_the_trace_is_read_what_is_known(given: str, flags: str) -> None:
    context = new_context(traceparent=given, tracestate="rojo=1")
    assert context.traceparent == f"00-{TRACE}-{context.span_id}-{flags}"
    assert (context.parent_id, context.tracestate) == (PARENT, "rojo=1")


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ("/facet", "/facet"), ("/facet/", "/facet"), ("/a/b.c~d-e_f", "/a/b.c~d-e_f"), ("/a, /b/", "/a/b"), ("/", ""),
        ("", ""), ("facet", ""), ("//evil.example", ""), ("/a//b", ""), ("/../a", ""), ("/a/.", ""), ("/a b", ""),
        ("/a\r\nX: y", ""), ("/a%2f", ""), ("/\\evil", ""), ("https://evil.example/a", ""), ("/" + "a" * 256, ""),
    ],
)  # fmt: skip
def test_a_prefix_is_plain_segments_of_a_path(given: str, prefix: str) -> None:
    assert path_prefix(given) == prefix


def test_paths_for_callers_have_the_prefix_of_their_request() -> None:
    assert public_path("/v1/jobs") == "/v1/jobs"
    with bound(new_context(prefix="/facet")):
        assert public_path("/v1/jobs") == "/facet/v1/jobs"


def test_a_state_that_is_too_long_is_dropped() -> None:
    assert new_context(traceparent=TRACEPARENT, tracestate="x" * 512).tracestate == "x" * 512
    assert new_context(traceparent=TRACEPARENT, tracestate="x" * 513).tracestate is None


def test_onward_headers_tie_calls_together() -> None:
    context = RequestContext("r", "1" * 32, "2" * 16)
    assert context.onward_headers() == {
        "X-Request-ID": "r",
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-00",
        "Facet-Caller": "anonymous",
    }
    assert RequestContext("r", "1" * 32, "2" * 16, prefix="/p").onward_headers()["X-Forwarded-Prefix"] == "/p"
    with_state = RequestContext("r", "1" * 32, "2" * 16, "00", "a=1")
    assert with_state.onward_headers()["tracestate"] == "a=1"


def test_a_context_holds_inside_only_and_nests() -> None:
    outer, inner = new_context(request_id="outer"), new_context(request_id="inner")
    assert current_context() is None
    assert log_bindings() == {}
    with bound(outer):
        with bound(inner):
            assert log_bindings() == {"request_id": "inner", "trace_id": inner.trace_id}
        assert current_context() is outer
    assert current_context() is None


async def test_requests_side_by_side_do_not_mix() -> None:
    async def serve(name: str) -> str | None:
        with bound(new_context(request_id=name)):
            await asyncio.sleep(0)
            found = current_context()
            return found.request_id if found else None

    names = [f"request-{number}" for number in range(20)]
    assert await asyncio.gather(*map(serve, names)) == names
