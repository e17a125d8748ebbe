"""Streams over HTTP: the interval comes before the label, and nothing is counted twice, whoever asks."""

from __future__ import annotations

import asyncio
import io
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from PIL import Image

from services.uncertainty.app import create_app
from services.uncertainty.conformal.methods.online.adaptive_inference import create_aci, step
from services.uncertainty.conformal.methods.regression.interval_bands import around_points
from shared.settings import Settings
from tests.integration.conformal.conftest import pointers
from tests.support.serving import running

STREAMS = "/v1/uncertainty/streams"
METHODS = ["aci", "agaci", "dtaci", "quantile-tracking", "pid"]


async def begin(client: httpx.AsyncClient, **options: Any) -> str:
    answer = await client.post(STREAMS, json=options)
    assert answer.status_code == 201, answer.text
    assert answer.headers["ETag"] == '"0"'
    location: str = answer.headers["Location"]
    return location


async def observe(
    client: httpx.AsyncClient, stream: str, pairs: list[tuple[float, float]], headers: dict[str, str] | None = None,
    **further: Any,
) -> httpx.Response:  # fmt: skip
    body = {"observations": [{"prediction": point, "label": label} for point, label in pairs], **further}
    return await client.post(f"{stream}/observations", json=body, headers=headers)


async def test_aci_is_that_of_the_core(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(0)
    labels = random.normal(size=120).cumsum()
    pairs = [(float(before), float(now)) for before, now in pairwise(labels)]
    stream = await begin(client, method="aci", gamma=0.05, scores=[0.5, 1.0, 1.5])
    state, expected = create_aci(0.1, gamma=0.05, scores=[0.5, 1.0, 1.5]), []
    for point, label in pairs:
        band = around_points([point])
        lower, upper = band.expand(*state.bounds())
        below, above = band.sides([label])
        state, missed = step(state, below=float(below[0]), above=float(above[0]))
        expected.append((float(lower[0]), float(upper[0]), missed))
    found = []
    for start in range(0, len(pairs), 17):
        answer = await observe(client, stream, pairs[start : start + 17])
        found += answer.json()["observations"]
    for one, (lower_end, upper_end, missed) in zip(found, expected, strict=True):
        ends = [end if np.isfinite(end) else None for end in (lower_end, upper_end)]
        assert [one["interval"]["lower"], one["interval"]["upper"]] == ends
        assert one["missed"] == missed
    now = (await client.get(stream)).json()
    assert (now["steps"], now["misses"], now["level"]) == (len(pairs), state.misses, state.level)
    assert now["coverage"] == 1 - state.error
    assert abs(state.error - 0.1) <= now["error_bound"]
    asked = await client.post(f"{stream}/predictions", json={"points": [{"prediction": 3.0}]})
    lower, upper = around_points([3.0]).expand(*state.bounds())
    assert asked.json()["intervals"][0]["upper"] == float(upper[0])
    assert (await client.get(stream)).json() == now


@pytest.mark.parametrize("method", METHODS)
async def test_methods_cover_about_as_often_as_asked(client: httpx.AsyncClient, method: str) -> None:
    random = np.random.default_rng(1)
    scale = np.repeat([1.0, 3.0], 300)
    own = {"aci": {"gamma": 0.05}, "pid": {"gain": 0.5, "saturation": 5.0}}.get(method, {})
    stream = await begin(client, method=method, alpha=0.2, **own)
    pairs = [(0.0, float(value)) for value in scale * random.normal(size=600)]
    answer = await observe(client, stream, pairs)
    assert answer.status_code == 200, answer.text
    assert answer.json()["coverage"] == pytest.approx(0.8, abs=0.05)


async def test_a_restart_loses_nothing(settings: Settings, client: httpx.AsyncClient) -> None:
    stream = await begin(client, method="dtaci", scores=[1.0] * 20)
    await observe(client, stream, [(0.0, 0.5), (0.0, 2.0)])
    before = await client.get(stream)
    async with running(create_app(settings)) as restarted:
        after = await restarted.get(stream)
        assert (after.json(), after.headers["ETag"]) == (before.json(), before.headers["ETag"])
        there = await observe(restarted, stream, [(0.0, 0.1)])
    assert there.json()["steps"] == 3
    assert (await client.get(stream)).json()["steps"] == 3


async def test_sequence_numbers_make_it_idempotent(client: httpx.AsyncClient) -> None:
    stream = await begin(client, scores=[1.0] * 20)
    pairs = [(0.0, 0.5), (0.0, 3.0)]
    first = await observe(client, stream, pairs, sequence=1)
    again = await observe(client, stream, pairs, sequence=1)
    assert again.json() == {**first.json(), "replayed": True}
    part = await observe(client, stream, pairs[1:], sequence=2)
    assert part.json()["observations"] == first.json()["observations"][1:]
    assert (await client.get(stream)).json()["steps"] == 2
    for wrong, sequence, said in (
        ([(0.0, 0.7)], 2, "another observation"),
        ([(0.0, 0.7)], 5, "number 3"),
        ([(0.0, 3.0), (0.0, 1.0)], 2, "end after"),
    ):
        answer = await observe(client, stream, wrong, sequence=sequence)
        assert answer.status_code == 409
        assert said in answer.json()["detail"]


async def test_only_the_newest_answers_are_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_CONFORMAL_HISTORY", "3")
    async with running(create_app(settings)) as client:
        stream = await begin(client)
        await observe(client, stream, [(0.0, float(value)) for value in range(5)])
        assert (await observe(client, stream, [(0.0, 4.0)], sequence=5)).json()["replayed"] is True
        assert "no longer kept" in (await observe(client, stream, [(0.0, 0.0)], sequence=1)).json()["detail"]


async def test_optimistic_concurrency(client: httpx.AsyncClient) -> None:
    stream = await begin(client)
    first = await observe(client, stream, [(0.0, 1.0)], {"If-Match": '"0"'}, sequence=1)
    assert (first.status_code, first.headers["ETag"]) == (200, '"1"')
    late = await observe(client, stream, [(0.0, 2.0)], {"If-Match": '"0"'})
    assert (late.status_code, late.headers["ETag"]) == (412, '"1"')
    assert late.json()["title"] == "Precondition failed"
    # A repetition of what has been done already is no conflict (RFC 9110, section 13.1.1).
    assert (await observe(client, stream, [(0.0, 1.0)], {"If-Match": '"0"'}, sequence=1)).json()["replayed"] is True
    assert (await observe(client, stream, [(0.0, 2.0)], {"If-Match": '"7", "1"'})).status_code == 200
    assert (await observe(client, stream, [(0.0, 2.0)], {"If-Match": "*"})).status_code == 200


async def test_two_replicas_race_and_nothing_is_lost(settings: Settings, client: httpx.AsyncClient) -> None:
    stream = await begin(client, scores=[1.0] * 20)
    async with running(create_app(settings)) as replica:
        plain = await asyncio.gather(
            *(observe((client, replica)[index % 2], stream, [(0.0, float(index))]) for index in range(24))
        )
        assert [one.status_code for one in plain] == [200] * 24
        numbers = [one.json()["observations"][0]["sequence"] for one in plain]
        assert sorted(numbers) == list(range(1, 25))
        same = await asyncio.gather(
            *(observe((client, replica)[index % 2], stream, [(0.0, 9.0)], sequence=25) for index in range(10))
        )
        assert [one.status_code for one in same] == [200] * 10
        assert len({str(one.json()["observations"]) for one in same}) == 1
        assert sum(not one.json()["replayed"] for one in same) == 1
        guarded = await asyncio.gather(
            *(observe((client, replica)[n % 2], stream, [(0.0, 1.0)], {"If-Match": '"25"'}) for n in range(10))
        )
        assert sorted(one.status_code for one in guarded) == [200] + [412] * 9
    assert (await client.get(stream)).json()["steps"] == 26


async def test_scores_of_any_kind(client: httpx.AsyncClient) -> None:
    stream = await begin(client, score="direct", scores=[float(value) for value in range(1, 20)])
    answer = await client.post(f"{stream}/observations", json={"observations": [{"score": 18.5}]})
    (one,) = answer.json()["observations"]
    assert one["interval"]["bounds"] == [18.0, 18.0]
    assert one["missed"] is True
    quantiles = await begin(client, score="cqr-m", scores=[1.0] * 20)
    posted = {"lower": -1.0, "median": 0.0, "upper": 3.0, "label": 0.5}
    answer = await client.post(f"{quantiles}/observations", json={"observations": [posted]})
    interval = answer.json()["observations"][0]["interval"]
    assert (interval["lower"], interval["upper"]) == (-2.0, 6.0)
    forecast = await begin(client, method="pid", first_bound=1.0, gain=0.0)
    asked = await client.post(f"{forecast}/predictions", json={"points": [{"prediction": 0.0, "forecast": 2.0}]})
    assert asked.json()["intervals"][0]["upper"] == 3.0


async def test_pictures(client: httpx.AsyncClient) -> None:
    stream = await begin(client, scores=[1.0] * 20)
    empty = await client.get(stream, headers={"Accept": "image/svg+xml"})
    assert empty.status_code == 200
    await observe(client, stream, [(0.0, 0.5), (0.0, 5.0), (0.0, -0.2)])
    svg = await client.get(stream, headers={"Accept": "image/svg+xml"})
    root = ET.fromstring(svg.content)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 3
    png = await client.get(stream, headers={"Accept": "image/png"})
    image = np.asarray(Image.open(io.BytesIO(png.content)))
    assert (image == (0xC0, 0x39, 0x2B)).all(axis=2).any(), "the miss is marked"


async def test_others_do_not_see_it(client: httpx.AsyncClient) -> None:
    stream = await begin(client, name="mine")
    stranger = {"Facet-Caller": "somebody"}
    assert (await client.get(stream, headers=stranger)).status_code == 404
    assert (await observe(client, stream, [(0.0, 1.0)], stranger)).status_code == 404
    assert (await client.delete(stream, headers=stranger)).status_code == 404
    assert (await client.get(STREAMS, headers=stranger)).json()["streams"] == []
    listed = (await client.get(STREAMS, params={"limit": 1})).json()["streams"]
    assert [one["name"] for one in listed] == ["mine"]
    assert (await client.delete(stream)).status_code == 204
    for answer in (await client.get(stream), await observe(client, stream, [(0.0, 1.0)])):
        assert answer.status_code == 404


@pytest.mark.parametrize("method", METHODS)
async def test_values_too_large_for_each_other_do_no_harm(client: httpx.AsyncClient, method: str) -> None:
    stream = await begin(client, method=method, score="normalised", scores=[1.0] * 5)
    far = {"prediction": -1e100, "difficulty": 1e-100, "label": 1e100}
    answer = await client.post(f"{stream}/observations", json={"observations": [far]})
    assert (answer.status_code, pointers(answer)) == (422, ["/body/observations/0"])
    near = {"prediction": 0.0, "difficulty": 1.0, "label": 1e100}
    await client.post(f"{stream}/observations", json={"observations": [near] * 3})
    assert (await client.get(stream)).status_code == 200
    assert (await client.get(STREAMS)).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"alpha": 0}, "/body/alpha"),
        ({"alpha": 1}, "/body/alpha"),
        ({"method": "magic"}, "/body/method"),
        ({"gamma": 0}, "/body/gamma"),
        ({"gammas": []}, "/body/gammas"),
        ({"capacity": 0}, "/body/capacity"),
        ({"first_level": 2}, "/body/first_level"),
        ({"scores": ["x"]}, "/body/scores/0"),
        ({"other": 1}, "/body/other"),
    ],
)
async def test_options_that_are_refused(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answer = await client.post(STREAMS, json=body)
    assert (answer.status_code, pointers(answer)) == (422, [pointer])


@pytest.mark.parametrize(
    ("observation", "pointer"),
    [
        ({"prediction": 1.0}, "/body/observations/0/label"),
        ({"label": 1.0}, "/body/observations/0/prediction"),
        ({"prediction": 1.0, "label": 1.0, "lower": 0.0}, "/body/observations/0/lower"),
        ({"prediction": 1.0, "label": 1.0, "forecast": 0.0}, "/body/observations/0/forecast"),
        ({"prediction": "x", "label": 1.0}, "/body/observations/0/prediction"),
        ({"prediction": 1.0, "label": 1.0, "weight": 0.0}, "/body/observations/0/weight"),
    ],
)
async def test_observations_that_are_refused(
    client: httpx.AsyncClient, observation: dict[str, Any], pointer: str
) -> None:
    stream = await begin(client)
    answer = await client.post(f"{stream}/observations", json={"observations": [observation]})
    assert (answer.status_code, pointers(answer)) == (422, [pointer])
    assert (await client.get(stream)).json()["steps"] == 0
