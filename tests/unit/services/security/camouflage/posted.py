"""A security service in this process, and files to post to it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np

from services.security.app import create_app
from tests.support.archives import zipped
from tests.support.capability import png, running_capability
from tests.support.workers import ROOT

RENDERS = "/v1/security/camouflages/renders"
CAMOUFLAGES = "/v1/security/camouflages"
ESTIMATES = "/v1/security/camouflages/estimates"
SIDE = 128


@asynccontextmanager
async def running_security(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The service, in a fleet whose perception service has two detectors and a classifier: cards alone."""
    for name in ("vehicle-detector", "nanodet", "traffic-signs"):
        card = max((ROOT / "services/perception/models" / name).glob("*/card.json"))
        to = folder / "models" / "perception" / name / card.parent.name
        to.mkdir(parents=True)
        shutil.copy(card, to)
    async with running_capability(create_app, folder) as client:
        yield client


def write_box(size: tuple[float, float, float] = (4.0, 2.0, 1.5)) -> bytes:
    """An OBJ of a box whose long side is z, y upwards."""
    long, wide, high = size
    corners = [(x * wide, y * high, z * long) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    quads = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
    lines = [f"v {x:g} {y:g} {z:g}" for x, y, z in corners]
    return "\n".join([*lines, "usemtl paint", *(f"f {a} {b} {c} {d}" for a, b, c, d in quads)]).encode()


def noise(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Colours, uint8."""
    return np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)


def dark_streets(count: int = 5) -> bytes:
    """A ZIP of dark pictures."""
    return zipped({f"{number}.png": png(np.full((48, 64, 3), 8 + number, np.uint8)) for number in range(count)})


def problem(answer: httpx.Response) -> tuple[int, list[str]]:
    """Status of a problem, and the fields that it blames."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
    found = answer.json()
    assert len(found["detail"]) > 15
    return answer.status_code, [error["pointer"] for error in found["errors"]]
