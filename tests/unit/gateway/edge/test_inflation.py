"""Compressed bodies: both codings in every spelling, and what pretends to be one."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from gateway.request_bodies.inflation import Inflater, coding_of
from gateway.request_bodies.reader import BodyReader
from shared.problems import BadRequest, ContentTooLarge, UnsupportedMediaType
from shared.settings import Settings
from tests.unit.gateway.edge.channels import channel, cut, scope_of

PLAIN = bytes(range(256)) * 40
MEBIBYTE = 1024**2


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def members(data: bytes) -> bytes:
    return b"".join(gzip.compress(data[start : start + 999]) for start in range(0, len(data), 999))


WAYS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("gzip", members),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
]


async def inflate(coding: str, *parts: bytes) -> bytes:
    inflater = Inflater(coding)
    pieces = [piece for part in parts if part for piece in [one async for one in inflater.pieces(part)]]
    inflater.require_end()
    assert all(len(piece) <= MEBIBYTE for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize(("coding", "compress"), WAYS)
@pytest.mark.parametrize("size", [1, 5, 1000, 10_000])
async def test_what_was_compressed_comes_back(coding: str, compress: Callable[[bytes], bytes], size: int) -> None:
    compressed = compress(PLAIN)
    parts = cut(compressed, repeat(size, len(compressed) // size))
    assert await inflate(coding, *parts) == PLAIN


@given(st.binary(max_size=3000), st.sampled_from(WAYS), st.lists(st.integers(1, 400), max_size=8))
async def test_wherever_it_is_cut(data: bytes, way: tuple[str, Callable[[bytes], bytes]], sizes: list[int]) -> None:
    coding, compress = way
    assert await inflate(coding, *cut(compress(data), sizes)) == data


@pytest.mark.parametrize(("coding", "compress"), WAYS)
async def test_what_was_cut_off_is_refused(coding: str, compress: Callable[[bytes], bytes]) -> None:
    compressed = compress(PLAIN)
    for length in (1, 2, 9, len(compressed) // 2 + 3, len(compressed) - 1):
        with pytest.raises(BadRequest, match=r"cut off"):
            await inflate(coding, compressed[:length])


@pytest.mark.parametrize(("coding", "compress"), WAYS)
@pytest.mark.parametrize("garbage", [b"x", b"\0", b"GET / HTTP/1.1\r\n\r\n", bytes(100)])
async def test_garbage_behind_the_end_is_refused(
    coding: str, compress: Callable[[bytes], bytes], garbage: bytes
) -> None:
    for parts in ([compress(PLAIN) + garbage], [compress(PLAIN), garbage]):
        with pytest.raises(BadRequest):
            await inflate(coding, *parts)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_is_not_compressed_is_refused(coding: str) -> None:
    with pytest.raises(BadRequest, match=f"not {coding}"):
        await inflate(coding, b'{"inputs": []}')


async def test_nothing_is_nothing() -> None:
    assert await inflate("gzip") == await inflate("deflate") == b""


# Which coding it is.


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], None),
        (["identity"], None),
        (["", "identity, identity"], None),
        (["gzip"], "gzip"),
        (["GZip"], "gzip"),
        (["x-gzip"], "gzip"),
        ([" deflate "], "deflate"),
        (["identity", "gzip"], "gzip"),
        (["identity, gzip,"], "gzip"),
    ],
)
def test_codings(values: list[str], coding: str | None) -> None:
    assert coding_of([value.encode() for value in values]) == coding


@pytest.mark.parametrize("values", [["br"], ["zstd"], ["gzip, gzip"], ["gzip", "deflate"], ["gzip;q=1"], ["\xff"]])
def test_other_codings_are_told_what_is_known(values: list[str]) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        coding_of([value.encode("latin-1") for value in values])
    assert caught.value.headers["Accept-Encoding"] == "gzip, deflate"
    assert "gzip, deflate" in caught.value.detail


# Bombs.


def bomb_of(wbits: int) -> bytes:
    """A gigabyte of zeros in a megabyte, but for its end, which nobody is to get to."""
    compressor = zlib.compressobj(9, wbits=wbits)
    first, further = (
        compressor.compress(bytes(MEBIBYTE)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )  # after a full flush nothing refers to what was before, so that the same bytes can follow again
    return first + 1023 * further


BOMBS = {coding: bomb_of(wbits) for coding, wbits in (("gzip", 31), ("deflate", 15))}


@pytest.mark.parametrize("coding", sorted(BOMBS))
async def test_a_bomb_stops_at_the_limit_with_little_memory(coding: str) -> None:
    bomb, given_parts = BOMBS[coding], 0
    assert len(bomb) < 1.1 * MEBIBYTE
    parts = [bomb[start : start + 65536] for start in range(0, len(bomb), 65536)]

    async def receive() -> Message:
        nonlocal given_parts
        given_parts += 1
        return {"type": "http.request", "body": parts[given_parts - 1], "more_body": given_parts < len(parts)}

    values: dict[str, Any] = {"upload_limit_bytes": 8 * MEBIBYTE, "spool_bytes": 1000}
    reader = BodyReader(Settings(_env_file=None, **values))
    tracemalloc.start()
    try:
        with pytest.raises(ContentTooLarge, match="inflates to more than 8388608 bytes"):
            await reader.read(scope_of(("Content-Encoding", coding), ("Content-Length", str(len(bomb)))), receive)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert given_parts == 1
    assert peak < 6 * MEBIBYTE
    assert (reader.memory.used, reader.disk.used) == (0, 0)


async def test_the_limit_counts_what_is_inflated() -> None:
    reader = BodyReader(Settings(_env_file=None, upload_limit_bytes=len(PLAIN)))
    held = await reader.read(scope_of(("Content-Encoding", "gzip")), channel(gzip.compress(PLAIN)))
    assert held.body.content == PLAIN
    held.close()
    with pytest.raises(ContentTooLarge):
        await reader.read(scope_of(("Content-Encoding", "gzip")), channel(gzip.compress(PLAIN + b"x")))
