"""Requests for camouflages: what they cost, and what is wrong with those that are refused."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from services.security.camouflage.capability import ENDPOINTS_PATH
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.schemas import CamouflageForm
from services.security.camouflage.settings import CamouflageSettings
from tests.support.archives import zipped
from tests.support.capability import png
from tests.unit.services.security.camouflage.posted import (
    CAMOUFLAGES,
    ESTIMATES,
    dark_streets,
    noise,
    problem,
    running_security,
    write_box,
)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running_security(tmp_path) as client:
        yield client


def bomb() -> bytes:
    return zipped({"a.png": bytes(48 * 1024 * 1024)})


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


OPTIONS: list[tuple[str, Any]] = [
    ("victim", "traffic-signs"), ("victim", "../../etc"), ("transfer", "vehicle-detector"), ("steps", "0"),
    ("steps", "5001"), ("hide", "nan"), ("covert", "-1"), ("share", "0.9"), ("places", "tyres"), ("mode", "partial"),
    ("pattern", "gan"), ("elevation_from", "inf"), ("elevation_to", "1"), ("distance_to", "5"), ("side", "64"),
    ("learning_rate", "0"), ("azimuths", "5"), ("texture_side", "1024"), ("paint", "#12345"), ("seed", "-1"),
    ("transfer", "endpoint:theirs"), ("transfer", "endpoint:"),
    ("transfer", "endpoint:../x"), ("transfer", "https://detector.example/v1"), ("smooth", "-inf"), ("hide", "1001"),
    ("printable", "1e999"), ("scenes", "513"), ("batch", "33"), ("lights", "0"), ("share", "nan"),
    ("learning_rate", "nan"),    ("horizon", "2"), ("up", "z"), ("car", "tank"), ("surprise", "1"),
]  # fmt: skip

FILES: list[tuple[str, bytes, int, str]] = [
    ("mesh", b"f 1 2 3", 422, "/body/mesh"),
    ("mesh", write_box((24.0, 8.0, 6.0)), 422, "/body/distance_from"),
    ("background", b"%PDF-1.7", 415, "/body/background/0"),
    ("background", png(noise(8, 64)), 422, "/body/background/0"),
    ("background", bomb(), 413, "/body/background/0"),
    ("background", zipped({"one.png": png(noise(40, 40)), "two.png": b"\x89PNG\r\n\x1a\n"}), 422, "/body/background/0"),
    ("background", zipped({f"n{number}.png": png(noise(32, 32)) for number in range(129)}), 413, "/body/background/0"),
    ("background", b"", 422, "/body/background/0"),
    ("mesh", b"", 422, "/body/mesh"),
    ("mesh", write_box().replace(b"v 0 0 0", b"v nan 0 0"), 422, "/body/mesh"),
    ("mesh", write_box().replace(b"v 0 0 0", b"v 1e39 0 0"), 422, "/body/mesh"),
    ("texture", b"", 422, "/body/texture"),
    ("texture", write_box(), 415, "/body/texture"),
    ("texture", zipped({"one.png": png(noise(40, 40))}), 415, "/body/texture"),
    ("texture", png(noise(40, 40))[:900], 422, "/body/texture"),
    ("texture", npy(np.full((8, 8, 3), np.nan, np.float32)), 422, "/body/texture"),
    ("texture", npy(np.zeros((8, 8, 4), np.float32)), 422, "/body/texture"),
]


async def test_bad_options_and_files_are_named(client: httpx.AsyncClient) -> None:
    for field, value in OPTIONS:
        status, pointers = problem(await client.post(ESTIMATES, data={field: value}))
        assert status == 422, (field, value)
        assert any(one == f"/body/{field}" or one.startswith(f"/body/{field}/") for one in pointers), pointers
    for field, content, expected, pointer in FILES:
        assert problem(await client.post(ESTIMATES, files={field: content})) == (expected, [pointer])
    for pattern in ("generator", "ddpm"):
        posted = {"texture": png(noise(40, 40))}
        assert problem(await client.post(ESTIMATES, data={"pattern": pattern}, files=posted)) == (
            422,
            ["/body/texture"],
        )
    stickers = {"mode": "sticker", "share": "0.6", "places": "bonnet"}
    status, pointers = problem(await client.post(CAMOUFLAGES, data=stickers))
    assert (status, pointers) == (422, ["/body/share"])


async def test_costs_are_stated_before_anything_is_started(client: httpx.AsyncClient) -> None:
    form = {"steps": "40", "batch": "4", "scenes": "16", "azimuths": "8", "transfer": "nanodet"}
    answer = await client.post(ESTIMATES, data=form, files={"background": dark_streets(), "mesh": write_box()})
    assert answer.status_code == 200, answer.text
    cost = answer.json()
    grid = 8 * 3 * 2
    assert cost["victim_evaluations"] == 160
    assert cost["detections"] == 160 + grid * 4 * 2
    assert cost["frames"] == 16 + 160 + grid * 4 + 24 + 48
    assert cost["seconds"] == pytest.approx(sum(part["seconds"] for part in cost["parts"]), abs=0.3)
    assert (cost["accepted"], cost["advice"], cost["notice"]) == (True, None, SIMULATION)
    assert [one["name"] for one in (cost["victim"], *cost["transfer"])] == ["vehicle-detector", "nanodet"]


async def test_a_mesh_without_texture_coordinates_is_unwrapped(client: httpx.AsyncClient) -> None:
    assert b"vt " not in write_box()
    answer = await client.post(ESTIMATES, files={"mesh": write_box()})
    assert answer.status_code == 200, answer.text


async def test_a_registered_detector_is_listed_and_its_queries_are_counted(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get(ENDPOINTS_PATH)).json() == {"endpoints": []}
    registered = {
        "name": "theirs", "url": "https://detector.example/v1", "request": {"kind": "multipart", "file": "photo"},
        "boxes": "/boxes", "scores": "/scores", "queries_per_s": 4, "owner": "Detectors Ltd",
        "ownership": "We run this detector and allow tests of it.",
    }  # fmt: skip
    monkeypatch.setenv("FACET_CAMOUFLAGE_ENDPOINTS", orjson.dumps([registered]).decode())
    (listed,) = (await client.get(ENDPOINTS_PATH)).json()["endpoints"]
    assert (listed["name"], listed["owner"]) == ("theirs", "Detectors Ltd")
    assert "url" not in listed
    form = {"azimuths": "4", "transfer": ["nanodet", "endpoint:theirs"]}
    cost = (await client.post(ESTIMATES, data=form)).json()
    shown = 4 * 3 * 2 * 4
    (asked,) = cost["endpoints"]
    assert asked == {
        "name": "endpoint:theirs", "owner": "Detectors Ltd", "queries": shown, "budget": 106, "seconds_at_least": 24.0
    }  # fmt: skip
    assert cost["detections"] == cost["victim_evaluations"] + 3 * shown
    alone = (await client.post(ESTIMATES, data=form | {"transfer": "nanodet"})).json()
    assert cost["seconds"] - alone["seconds"] == pytest.approx(24, abs=0.2)
    twice = {"transfer": ["endpoint:theirs", "endpoint:theirs"]}
    assert problem(await client.post(ESTIMATES, data=twice)) == (422, ["/body/transfer/1"])


def test_two_registered_detectors_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {
        "name": "theirs", "url": "https://detector.example/v1", "request": {"kind": "multipart", "file": "photo"},
        "boxes": "/boxes", "scores": "/scores", "owner": "Detectors Ltd",
        "ownership": "We run this detector and allow tests of it.",
    }  # fmt: skip
    monkeypatch.setenv("FACET_CAMOUFLAGE_ENDPOINTS", orjson.dumps([one, one]).decode())
    with pytest.raises(ValueError, match="the same name"):
        CamouflageSettings()
    monkeypatch.setenv("FACET_CAMOUFLAGE_ENDPOINTS", orjson.dumps([one]).decode())
    monkeypatch.setenv("FACET_CAMOUFLAGE_ALLOWED_NETWORKS", "10.0.0.0/8, 192.168.0.0/16")
    assert len(CamouflageSettings().allowed_networks) == 2


async def test_what_costs_too_much_is_refused_with_what_to_lower(client: httpx.AsyncClient) -> None:
    large = {"steps": "5000", "batch": "32"}
    cost = (await client.post(ESTIMATES, data=large)).json()
    assert not cost["accepted"]
    assert "`steps`" in cost["advice"]
    assert problem(await client.post(CAMOUFLAGES, data=large)) == (422, ["/body/steps"])
    wide = {"scenes": "512", "side": "320"}
    cost = (await client.post(ESTIMATES, data=wide)).json()
    assert "`scenes`" in cost["advice"]
    assert cost["memory_mib"] > cost["memory_limit_mib"]
    assert problem(await client.post(CAMOUFLAGES, data=wide)) == (422, ["/body/scenes"])
    longer = {"steps": "5000", "batch": "8"}
    assert "s; at most 3200 s" in (await client.post(ESTIMATES, data=longer)).json()["advice"]


def test_a_form_left_empty_is_the_plan_left_empty() -> None:
    assert CamouflageForm().options().plan() == CamouflagePlan()


def test_a_form_says_all_that_a_plan_does() -> None:
    form = CamouflageForm.model_validate(
        {
            "car": "pickup", "pattern": "ddpm", "mode": "sticker", "share": "0.3", "places": ["roof", "sides", "roof"],
            "hide": "2", "covert": "3", "smooth": "4", "printable": "5", "elevation_from": "1", "elevation_to": "9",
            "distance_from": "8", "distance_to": "9", "scenes": "5", "lights": "6", "side": "100", "paint": "#0a0B0c",
            "texture_side": "512", "steps": "7", "batch": "3", "learning_rate": "0.5", "seed": "11",
        }
    )  # fmt: skip
    assert form.options().plan().model_dump() == {
        "car": "pickup",
        "pattern": "ddpm",
        "cover": {"mode": "sticker", "share": 0.3, "places": ("roof", "sides")},
        "weights": {"hide": 2.0, "covert": 3.0, "smooth": 4.0, "printable": 5.0},
        "views": {
            "elevation_degrees": (1.0, 9.0), "distance_m": (8.0, 9.0), "scenes": 5, "lights": 6, "side": 100,
        },
        "paint": (10, 11, 12),
        "texture_side": 512,
        "steps": 7,
        "batch": 3,
        "learning_rate": 0.5,
        "seed": 11,
    }  # fmt: skip
