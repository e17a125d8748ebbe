"""Requests for renders that cannot be answered: what is said, and of which field."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.capability import npy, png
from tests.unit.services.security.camouflage.posted import RENDERS, noise, problem, running_security, write_box

SMALL = {"width": "64", "height": "48"}
FLAT = b"v 0 0 0\nv 1 0 0\nv 0 0 1\nf 1 2 3\n"
HUGE_GLB = b"glTF" + (2).to_bytes(4, "little") + (2**31).to_bytes(4, "little") + b"\xff\xff\xff\x7fJSON{}"


def animated() -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = io.BytesIO()
    frames[0].save(content, "WEBP", save_all=True, append_images=frames[1:])
    return content.getvalue()


FILES: list[tuple[str, bytes, int]] = [
    ("mesh", b"v 0 0\nf 1 2 3", 422),
    ("mesh", b"f 1 2 3", 422),
    ("mesh", b"v 1e400 0 0\n" + FLAT, 422),
    ("mesh", FLAT, 422),
    ("mesh", HUGE_GLB, 422),
    ("mesh", png(noise(8, 8)), 422),
    ("mesh", write_box((4e5, 2e5, 1e5)), 422),
    ("file", b"%PDF-1.7", 415),
    ("file", b"PK\x03\x04 no texture", 415),
    ("file", animated(), 422),
    ("file", png(noise(8, 8))[:60], 422),
    ("file", npy(np.zeros((4, 4, 4), np.float32)), 422),
    ("file", npy(np.full((4, 4, 3), np.nan, np.float32)), 422),
    ("file", npy(np.full((4, 4, 3), 200.0, np.float32)), 422),
    ("file", npy(np.zeros((4, 4, 3), np.int16)), 422),
    ("file", npy(np.zeros((0, 4, 3), np.uint8)), 422),
    ("background", npy(noise(8, 8)), 415),
    ("background", b"\x89PNG\r\n\x1a\n", 422),
]

OPTIONS: list[tuple[str, str]] = [
    ("azimuth", "nan"), ("elevation", "inf"), ("elevation", "90"), ("distance_m", "-1"), ("distance_m", "1.5"),
    ("field_of_view", "0"), ("width", "1025"), ("height", "1e9"), ("sun_elevation", "0"), ("exposure", "nan"),
    ("roughness", "0.01"), ("f0", "1"), ("paint", "red"), ("texture_side", "4096"), ("car", "tank"), ("street", "-1"),
    ("up", "z"), ("length_m", "4"), ("painted", "paint"), ("show", "depth"), ("store", "png"), ("surprise", "1"),
]  # fmt: skip


async def test_bad_files_and_options_are_named(tmp_path: Path) -> None:
    async with running_security(tmp_path) as client:

        async def send(data: dict[str, Any], files: dict[str, bytes]) -> tuple[int, list[str]]:
            return problem(await client.post(RENDERS, data=SMALL | data, files=files))

        for field, content, status in FILES:
            assert await send({}, {field: content}) == (status, [f"/body/{field}"]), content[:40]
        for field, value in OPTIONS:
            status, pointers = await send({field: value}, {})
            assert status == 422, (field, value)
            assert any(one == f"/body/{field}" or one.startswith(f"/body/{field}/") for one in pointers), pointers
        for field in ("file", "mesh", "background"):
            assert await send({}, {field: b""}) == (422, [f"/body/{field}"])
        query = await client.post(RENDERS, params={"azimuth": "nan"}, content=png(noise(8, 8)))
        assert problem(query) == (422, ["/query/azimuth"])
        too_large = await client.post(RENDERS, data=SMALL, files={"mesh": b"v 0 0 0\n" * 2_200_000})
        assert problem(too_large) == (413, ["/body/mesh"])
