"""Renders over HTTP: the same pictures as the renderer's own, in every format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.rendering.backgrounds import draw_street, fit_background
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, Material, make_daylight
from services.security.camouflage.reporting.notices import SIMULATION
from shared.imaging.pictures import decode_picture
from tests.support.capability import from_npy, npy, png
from tests.unit.services.security.camouflage.posted import RENDERS, SIDE, noise, running_security, write_box

VIEW = {"azimuth": "50", "elevation": "20", "distance_m": "8", "width": "96", "height": "64", "texture_side": str(SIDE)}
AS_NPY = {"Accept": "application/x-npy"}
AS_JSON = {"Accept": "application/json"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running_security(tmp_path) as client:
        yield client


def rendered(texture: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
    """The picture of the renderer itself."""
    mesh, camera = make_car("sedan"), Camera(50, 20, 8, 34, 96, 64)
    light = make_daylight(-20, 30, sky_share=0.5, warmth=0.2, exposure=0.7)
    behind = draw_street(camera, 4) if background is None else fit_background(background, 0.4, camera, zoom=2)
    materials = MATERIALS | {Part.BODY: Material(0.2, 0.08, 0.5)}
    frame = make_frame(make_scene(mesh, camera, (SIDE, SIDE)), light, materials, behind)
    return finish_frame(frame, texture, map_atlas(mesh, SIDE, SIDE).mask)


async def test_a_render_is_the_renderers_picture_in_every_format(client: httpx.AsyncClient) -> None:
    colours = noise()
    options = VIEW | {
        "car": "sedan", "sun_azimuth": "-20", "sun_elevation": "30", "sky_share": "0.5", "warmth": "0.2",
        "exposure": "0.7", "roughness": "0.2", "f0": "0.08", "metallic": "0.5", "street": "4",
    }  # fmt: skip
    expected = rendered(colours.astype(np.float32) / np.float32(255))

    async def ask(texture: bytes, headers: dict[str, str]) -> httpx.Response:
        answer = await client.post(RENDERS, data=options, files={"file": texture}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    array = from_npy((await ask(png(colours), AS_NPY)).content)
    assert array.dtype == np.float32
    assert np.array_equal(array, expected)
    drawn = await ask(npy(colours), {})
    assert drawn.headers["content-type"] == "image/png"
    assert drawn.headers["facet-notice"] == SIMULATION
    pixels = decode_picture(drawn.content, limit_pixels=10_000).pixels
    assert np.array_equal(pixels, (expected * 255 + 0.5).astype(np.uint8))
    as_floats = await ask(npy(colours.astype(np.float64) / 255), AS_NPY)
    assert np.allclose(from_npy(as_floats.content), expected, atol=1e-6)


async def test_the_texture_may_be_the_body(client: httpx.AsyncClient) -> None:
    texture = png(noise())
    as_form = await client.post(RENDERS, data=VIEW, files={"file": texture})
    as_body = await client.post(RENDERS, params=VIEW, content=texture, headers={"Content-Type": "image/png"})
    assert as_form.status_code == as_body.status_code == 200
    assert as_form.content == as_body.content


async def test_a_texture_of_another_size_is_resampled_and_a_posted_background_is_cut(client: httpx.AsyncClient) -> None:
    colours, behind = noise(2 * SIDE, 2 * SIDE), noise(80, 120)
    bands = [Image.fromarray((colours[..., band] / np.float32(255)).astype(np.float32)) for band in range(3)]
    smaller = np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for one in bands], axis=2)
    options = VIEW | {
        "car": "sedan", "sun_azimuth": "-20", "sun_elevation": "30", "sky_share": "0.5", "warmth": "0.2",
        "exposure": "0.7", "roughness": "0.2", "f0": "0.08", "metallic": "0.5", "horizon": "0.4", "zoom": "2",
    }  # fmt: skip
    files = {"file": png(colours), "background": png(behind)}
    answer = await client.post(RENDERS, data=options, files=files, headers=AS_NPY)
    assert np.allclose(from_npy(answer.content), rendered(smaller, behind), atol=1e-5)


async def test_json_says_what_is_on_the_picture(client: httpx.AsyncClient) -> None:
    plain: dict[str, Any] = (await client.post(RENDERS, data=VIEW | {"paint": "#ff0000"}, headers=AS_JSON)).json()
    camera = Camera(50, 20, 8, 34, 96, 64)
    view = make_scene(make_car("sedan"), camera, (SIDE, SIDE)).view
    assert view.box is not None
    assert plain["box"] == list(view.box)
    assert plain["notice"] == SIMULATION
    assert plain["visible_share"] == pytest.approx(float(view.coverage.mean()), abs=1e-5)
    assert 0.3 < plain["painted_share"] < 0.9
    assert (plain["surface"]["car"], plain["surface"]["texture_side"]) == ("sedan", SIDE)
    box = {"mesh": write_box()}
    posted = (await client.post(RENDERS, data=VIEW | {"distance_m": "12"}, files=box, headers=AS_JSON)).json()
    assert posted["painted_share"] == 1
    surface = posted["surface"]
    assert (surface["car"], surface["faces"], surface["unwrapped"]) == ("posted", 12, True)
    assert surface["materials"] == {"paint": "body"}
    assert surface["painted_m2"] == pytest.approx(2 * (4 * 2 + 4 * 1.5 + 2 * 1.5), rel=1e-3)


async def test_the_atlas_shows_the_texture_between_its_outlines(client: httpx.AsyncClient) -> None:
    options = VIEW | {"show": "uv", "paint": "#00c040"}
    answer = await client.post(RENDERS, data=options, files={"mesh": write_box()}, headers={})
    pixels = decode_picture(answer.content, limit_pixels=2**21).pixels
    assert pixels.shape == (768, 768, 3)
    shares = {colour: float((pixels == colour).all(axis=2).mean()) for colour in ((0, 192, 64), (20, 20, 20))}
    assert shares[0, 192, 64] > 0.3
    assert 0.001 < shares[20, 20, 20] < 0.1
