"""Evaluations over HTTP: metrics against their definitions, and pictures that can be opened."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tests.integration.conformal.conftest import CALIBRATIONS, calibrated, logits, pointers
from tests.support.capability import npy

SVG = "{http://www.w3.org/2000/svg}"


async def test_metrics_of_sets(client: httpx.AsyncClient) -> None:
    values, labels = logits(500)
    body = await calibrated(client, logits=values[:200].tolist(), labels=labels[:200].tolist(), alpha=[0.2])
    posted = {"logits": npy(values[200:]), "labels": npy(labels[200:]), "slab_features": npy(values[200:, :2])}
    answer = await client.post(f"{CALIBRATIONS}/{body['id']}/evaluations", files=posted)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    predicted = await client.post(f"{CALIBRATIONS}/{body['id']}/predictions", json={"logits": values[200:].tolist()})
    sets = [item["sets"][0]["labels"] for item in predicted.json()["items"]]
    hits = sum(label in one for label, one in zip(labels[200:].tolist(), sets, strict=True))
    coverage = found["coverage"]
    assert (coverage["covered"], coverage["items"]) == (hits, 300)
    exact = stats.binomtest(hits, 300).proportion_ci(0.95, "exact")
    assert coverage["interval"] == pytest.approx([exact.low, exact.high])
    law = stats.betabinom(300, 161, 40)
    assert coverage["expected_hits"] == [int(one) for one in law.interval(0.95)]
    assert coverage["p_value"] == pytest.approx(min(1, 2 * min(law.cdf(hits), law.sf(hits - 1))))
    metrics = found["classification"]
    assert metrics["size_histogram"] == np.bincount([len(one) for one in sets], minlength=6).tolist()
    assert metrics["average_size"] == pytest.approx(np.mean([len(one) for one in sets]))
    assert sum(one["items"] for one in metrics["by_class"]) == 300
    assert metrics["criteria"]["N"] == pytest.approx(metrics["average_size"])
    assert 0 <= metrics["worst_slab_coverage"] <= 1


async def test_metrics_of_intervals(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(3)
    targets = random.normal(size=300)
    body = await calibrated(client, kind="regression", predictions=[0.0] * 200, targets=targets[:200].tolist())
    q = body["cells"][0]["thresholds"][0]["q"]
    answer = await client.post(
        f"{CALIBRATIONS}/{body['id']}/evaluations", json={"predictions": [0.0] * 100, "targets": targets[200:].tolist()}
    )
    found = answer.json()
    assert found["coverage"]["covered"] == int((np.abs(targets[200:]) <= q).sum())
    assert found["regression"]["average_length"] == pytest.approx(2 * q)
    outside = np.maximum(np.abs(targets[200:]) - q, 0)
    assert found["regression"]["mean_winkler_score"] == pytest.approx(2 * q + 20 * outside.mean())


@pytest.mark.parametrize("shown", ["coverage", "size"])
@pytest.mark.parametrize("kind", ["classification", "regression"])
async def test_images(client: httpx.AsyncClient, shown: str, kind: str) -> None:
    values, labels = logits(300)
    if kind == "classification":
        posted = {"logits": values[:200].tolist(), "labels": labels[:200].tolist()}
    else:
        posted = {"predictions": values[:, 0].tolist(), "targets": values[:, 1].tolist()}
    body = await calibrated(client, kind=kind, **posted)
    route = f"{CALIBRATIONS}/{body['id']}/evaluations"
    svg = await client.post(route, json={**posted, "image": shown}, headers={"Accept": "image/svg+xml"})
    assert svg.headers["content-type"].startswith("image/svg+xml")
    root = ET.fromstring(svg.content)
    assert root.tag == f"{SVG}svg"
    bars = root.iter(f"{SVG}polygon")
    tallest = min(float(one.attrib["points"].split(",")[1].split()[0]) for one in bars)
    assert tallest < 100, "the highest bar nearly fills the plot"
    png = await client.post(route, json={**posted, "image": shown}, headers={"Accept": "image/png"})
    image = np.asarray(Image.open(io.BytesIO(png.content)))
    assert image.shape == (800, 1440, 3)
    blue = (image == (0x3B, 0x76, 0xAF)).all(axis=2)
    assert blue.any()


async def test_the_earlier_name_of_a_field_is_taken_and_called_deprecated(client: httpx.AsyncClient) -> None:
    values, labels = logits(60)
    posted = {"logits": values.tolist(), "labels": labels.tolist()}
    route = f"{CALIBRATIONS}/{(await calibrated(client, **posted))['id']}/evaluations"
    svg = {"Accept": "image/svg+xml"}
    now = await client.post(route, json={**posted, "image": "size"}, headers=svg)
    before = await client.post(route, json={**posted, "picture": "size"}, headers=svg)
    assert (before.status_code, before.content) == (200, now.content)
    assert re.fullmatch(r"@\d+", before.headers["deprecation"])
    assert "deprecation" not in now.headers
    described = await client.post(route, json={**posted, "picture": "size"})
    assert described.headers["deprecation"] == before.headers["deprecation"]


async def test_what_is_refused(client: httpx.AsyncClient) -> None:
    values, labels = logits(30)
    posted = {"logits": values.tolist(), "labels": labels.tolist()}
    body = await calibrated(client, **posted)
    route = f"{CALIBRATIONS}/{body['id']}/evaluations"
    for change, pointer in (
        ({"labels": None}, "/body/labels"),
        ({"labels": [7] * 30}, "/body/labels"),
        ({"slab_features": [[1.0]]}, "/body/slab_features"),
        ({"alpha": 0}, "/body/alpha"),
        ({"image": "cat"}, "/body/image"),
        ({"picture": "cat"}, "/body/picture"),
        ({"image": "size", "picture": "coverage"}, "/body/picture"),
    ):
        answer = await client.post(route, json={**posted, **change})
        assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text
    assert (await client.post(route, json=posted, headers={"Accept": "image/gif"})).status_code == 406
    assert (await client.post(f"{CALIBRATIONS}/nothing/evaluations", json=posted)).status_code == 404
