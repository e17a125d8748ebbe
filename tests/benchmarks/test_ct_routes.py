"""CT routes of the whole fleet: p50 and p95 through the gateway and past it, split by Server-Timing.

Requests to gateway and service take turns, so that other load on the machine falls on both alike; the ratio is the
median over rounds of the two times of one round.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from services.medical.low_dose_ct.demo import demo_files
from services.medical.low_dose_ct.images.attenuation import hu_to_attenuation
from services.medical.low_dose_ct.inference import denoise
from services.medical.low_dose_ct.released import open_model
from shared.imaging.arrays import decode_npy
from tests.benchmarks.reporting import ROUNDS, show
from tests.e2e.fleet import Fleet, start_fleet

REQUESTS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "reconstruction, 1000x513 -> 362x362, NPY": (
        "/v1/medical/ct/reconstructions", "low-dose-sinogram.npy", "application/x-npy", {},
    ),
    "the same without the network": (
        "/v1/medical/ct/reconstructions", "low-dose-sinogram.npy", "application/x-npy", {"denoise": "false"},
    ),
    "enhancement, 362x362 DICOM -> DICOM": ("/v1/medical/ct/enhancements", "low-dose.dcm", "application/dicom", {}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: the client's wall time and the phases of Server-Timing, milliseconds."""

    wall: float
    phases: dict[str, float]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    running = start_fleet(tmp_path_factory.mktemp("fleet"), arguments=["--without-torch"])
    yield running
    running.stop()


def post(client: httpx.Client, url: str, content: bytes, accept: str, fields: dict[str, str]) -> Sample:
    began = time.perf_counter()
    answer = client.post(url, files={"file": ("input", content)}, data=fields, headers={"Accept": accept})
    wall = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    header = answer.headers["server-timing"]
    phases = {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", header)}
    return Sample(wall, phases)


def row(name: str, way: str, samples: list[Sample]) -> dict[str, Any]:
    walls = [sample.wall for sample in samples]
    phases = {
        phase: float(np.median([sample.phases.get(phase, 0.0) for sample in samples]))
        for phase in ("queue", "pre", "infer", "post")
    }
    p50, p95 = float(np.percentile(walls, 50)), float(np.percentile(walls, 95))
    return {"request": name, "way": way, "p50 ms": p50, "p95 ms": p95} | phases


def test_routes_through_the_gateway(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    files = demo_files()
    ways = {"gateway": fleet.url, "service": fleet.facts["services"]["medical"]}
    rows = []
    with httpx.Client(timeout=120, trust_env=False) as client:
        for name, (path, file, accept, fields) in REQUESTS.items():
            samples: dict[str, list[Sample]] = {way: [] for way in ways}
            for round_number in range(-1, ROUNDS):
                for way, base in ways.items():
                    sample = post(client, base + path, files[file], accept, fields)
                    if round_number >= 0:
                        samples[way].append(sample)
            pairs = zip(samples["gateway"], samples["service"], strict=True)
            ratio = float(np.median([through.wall / past.wall for through, past in pairs]))
            rows += [row(name, way, samples[way]) for way in ways]
            rows[-2]["gateway / service"], rows[-1]["gateway / service"] = ratio, 1.0
    assert len(rows) == len(REQUESTS) * len(ways)
    show(capsys, "CT routes, one request at a time", rows)


def test_two_at_once(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Two enhancements beside each other, and the same two one after the other: the ratio is to be at most 1."""
    content, url = demo_files()["low-dose.dcm"], fleet.url + "/v1/medical/ct/enhancements"
    in_a_row, at_once = [], []
    with httpx.Client(timeout=120, trust_env=False) as client, ThreadPoolExecutor(2) as threads:

        def once(_: int) -> Sample:
            return post(client, url, content, "application/dicom", {})

        for round_number in range(-1, ROUNDS):
            began = time.perf_counter()
            list(map(once, range(2)))
            between = time.perf_counter()
            list(threads.map(once, range(2)))
            if round_number >= 0:
                in_a_row.append((between - began) * 1e3)
                at_once.append((time.perf_counter() - between) * 1e3)
    ratio = float(np.median([two / one for two, one in zip(at_once, in_a_row, strict=True)]))
    row = {"two in a row, ms": float(np.median(in_a_row)), "two at once, ms": float(np.median(at_once)), "ratio": ratio}
    show(capsys, "Two CT enhancements", [row])
    assert ratio < 1.1, "requests beside each other hinder each other"


def test_network_alone(capsys: pytest.CaptureFixture[str]) -> None:
    hu = decode_npy(demo_files()["normal-dose.npy"], limit_elements=10**7)
    slice_ = hu_to_attenuation(hu)
    rows = []
    for name in ("low-dose-ct", "gaussian-denoiser"):
        for threads in (1, 2):
            model = open_model(name, threads=threads)
            assert denoise(slice_, model).after.shape == slice_.shape
            seconds = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                denoise(slice_, model)
                seconds.append(time.perf_counter() - began)
            rows.append(
                {"model": name, "threads": threads, "median ms per 362x362 slice": float(np.median(seconds)) * 1e3}
            )
    show(capsys, "Network alone", rows)
