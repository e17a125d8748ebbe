"""Monitors over HTTP: silent on exchangeable items, loud after a change, and the same after a restart."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from PIL import Image

from services.uncertainty.app import create_app
from services.uncertainty.conformal.methods.online.martingales import Bet, online_p_values, start_monitor, watch
from shared.settings import Settings
from tests.integration.conformal.conftest import CALIBRATIONS, calibrated, logits, pointers
from tests.support.serving import running

MONITORS = "/v1/uncertainty/monitors"


async def begin(client: httpx.AsyncClient, **options: Any) -> str:
    answer = await client.post(MONITORS, json=options)
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["Location"]
    return location


async def test_it_is_the_martingale_of_the_core(settings: Settings, client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(0)
    scores = np.concatenate([random.normal(size=200), random.normal(2, 1, size=100)])
    monitor = await begin(client, bet="power-mixture", delta=0.001, seed=4)
    first = await client.post(f"{monitor}/observations", json={"scores": scores[:200].tolist(), "sequence": 1})
    assert first.json()["alarm"] is False
    async with running(create_app(settings)) as restarted:
        second = await restarted.post(f"{monitor}/observations", json={"scores": scores[200:].tolist()})
    expected = start_monitor(bet=Bet.POWER, delta=0.001)
    steps = first.json()["observations"] + second.json()["observations"]
    for one, p_value in zip(steps, online_p_values(scores, seed=4).tolist(), strict=True):
        expected = watch(expected, p_value)
        assert (one["p_value"], one["log_capital"]) == (p_value, expected.capital)
    now = (await client.get(monitor)).json()
    assert now["alarm"] is True
    assert now["martingale"]["step"] == expected.alarm_step > 200
    assert now["martingale"]["threshold"] == pytest.approx(np.log(1000))
    assert now["p_value"] == expected.p_value
    assert now["advice"].startswith("Exchangeability is refuted")
    again = await client.post(f"{monitor}/observations", json={"scores": scores[:200].tolist(), "sequence": 1})
    assert again.json()["observations"] == first.json()["observations"]
    assert (await client.get(monitor)).json()["steps"] == 300


async def test_a_monitor_of_a_calibration_takes_labelled_items(client: httpx.AsyncClient) -> None:
    values, labels = logits(900, seed=2)
    body = await calibrated(client, logits=values[:300].tolist(), labels=labels[:300].tolist(), score="aps")
    monitor = await begin(client, calibration=body["id"])
    posted = {"logits": values[300:600].tolist(), "labels": labels[300:600].tolist()}
    same = await client.post(f"{monitor}/observations", json=posted)
    assert same.status_code == 200, same.text
    assert same.json()["alarm"] is False
    # The labels of the last part are those of others: the classifier fails.
    shifted = {"logits": values[600:].tolist(), "labels": np.roll(labels[600:], 1).tolist()}
    assert (await client.post(f"{monitor}/observations", json=shifted)).json()["alarm"] is True
    assert (await client.get(monitor)).json()["guarantee"].count("those of the calibration first")
    await client.delete(f"{CALIBRATIONS}/{body['id']}")
    assert (await client.post(f"{monitor}/observations", json=posted)).status_code == 409
    assert (await client.post(f"{monitor}/observations", json={"scores": [0.5]})).status_code == 200


async def test_p_values_and_pictures(client: httpx.AsyncClient) -> None:
    monitor = await begin(client, observes="p-values", bet="simple-jumper", delta=0.05)
    assert (await client.get(monitor, headers={"Accept": "image/svg+xml"})).status_code == 200
    answer = await client.post(f"{monitor}/observations", json={"p_values": [0.001] * 60})
    assert answer.json()["alarm"] is True
    stale = await client.post(f"{monitor}/observations", json={"p_values": [0.5]}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    svg = await client.get(monitor, headers={"Accept": "image/svg+xml"})
    lines = [one.attrib for one in ET.fromstring(svg.content).iter("{http://www.w3.org/2000/svg}polyline")]
    assert any(len(one["points"].split()) == 60 for one in lines)
    png = await client.get(monitor, headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(png.content)).size == (1440, 800)


async def test_regression_and_listing(client: httpx.AsyncClient) -> None:
    body = await calibrated(client, kind="regression", predictions=[0.0] * 50, targets=np.linspace(-1, 1, 50).tolist())
    monitor = await begin(client, calibration=body["id"], name="watch")
    answer = await client.post(f"{monitor}/observations", json={"predictions": [0.0], "targets": [9.0]})
    # The largest of 51 scores: smoothed, its p-value lies below 1/51.
    assert 0 < answer.json()["observations"][0]["p_value"] <= 1 / 51
    stranger = {"Facet-Caller": "somebody"}
    assert (await client.get(monitor, headers=stranger)).status_code == 404
    assert [one["name"] for one in (await client.get(MONITORS)).json()["monitors"]] == ["watch"]
    assert (await client.delete(monitor)).status_code == 204
    assert (await client.get(MONITORS)).json()["monitors"] == []


async def test_what_is_refused(client: httpx.AsyncClient) -> None:
    values, labels = logits(40)
    grouped = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), method="class")
    for body, pointer in (
        ({"delta": 0}, "/body/delta"),
        ({"bet": "all"}, "/body/bet"),
        ({"threshold": 1}, "/body/threshold"),
        ({"calibration": "none"}, "/body/calibration"),
        ({"calibration": grouped["id"]}, "/body/calibration"),
    ):
        answer = await client.post(MONITORS, json=body)
        assert (answer.status_code, pointers(answer)) == (422, [pointer])
    plain = await begin(client, observes="p-values")
    for observed, pointer in (
        ({"p_values": [0.0]}, "/body/p_values"),
        ({"p_values": [1.5]}, "/body/p_values"),
        ({"scores": [1.0]}, "/body/scores"),
        ({}, "/body/p_values"),
        ({"p_values": [0.5] * 1001}, "/body/p_values"),
        ({"p_values": [0.5], "sequence": 0}, "/body/sequence"),
    ):
        answer = await client.post(f"{plain}/observations", json=observed)
        assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text
    assert (await client.get(plain)).json()["steps"] == 0
