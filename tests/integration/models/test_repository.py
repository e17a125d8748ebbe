"""Triton's model repository extension by its own client, with and without compression."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest
import tritonclient.http

from tests.integration.models.conftest import Bench

JSON = {"Content-Type": "application/json"}


async def until_it_is(bench: Bench, state: str) -> None:
    """Wait for all replicas."""
    async with asyncio.timeout(20):
        while (await bench.gateway.get("/v1/models/scale/versions/1.0.0")).json()["state"] != state:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_client_unloads_and_loads(bench: Bench) -> None:
    assert (await bench.upload(2)).status_code == 201
    address = str(bench.gateway.base_url).removeprefix("http://").rstrip("/")
    with tritonclient.http.InferenceServerClient(address) as client:
        await asyncio.to_thread(client.unload_model, "scale", headers=JSON)
        await until_it_is(bench, "unloaded")
        await asyncio.to_thread(client.load_model, "scale", headers=JSON)
        await until_it_is(bench, "ready")


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_orders_may_be_compressed(bench: Bench, coding: str, compress: Callable[[bytes], bytes]) -> None:
    assert (await bench.upload(2)).status_code == 201
    headers = JSON | {"Content-Encoding": coding}
    for order, body, state in (
        ("unload", b'{"parameters":{"unload_dependents":false}}', "unloaded"),
        ("load", b"{}", "ready"),
    ):
        path = f"/v2/repository/models/scale/{order}"
        answer = await bench.gateway.post(path, content=compress(body), headers=headers)
        assert answer.status_code == 200, answer.text
        await until_it_is(bench, state)
