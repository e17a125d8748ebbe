"""What a picture costs the vehicle detectors beside the reference detector: graphs in onnxruntime, 1 and 2 threads.

All see the same frames, each as large as its card says: `nanodet` sees 416 x 416, the others 288 x 448 of a frame of
448 x 266. Generated frames do, since neither depends on what is on a picture, but for the proposals that are pooled.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from services.declarations import SERVICES
from services.perception.detection.detectors import VEHICLES
from shared.detectors.inference import SeenPicture, Selection, detect_blocking, see
from shared.detectors.models import Detector, read_detector
from shared.runtime.models.registry import newest_folder
from shared.runtime.models.sessions import OnnxModel
from tests.benchmarks.reporting import ROUNDS, show

MODELS: Final = SERVICES / "perception" / "models"
REFERENCE: Final = "nanodet"
RELEASED: Final = tuple(name for name in (VEHICLES, f"{VEHICLES}-two-stage") if (MODELS / name).is_dir())
FRAMES: Final = 4
HEIGHT, WIDTH = 266, 448


def frames() -> list[NDArray[np.uint8]]:
    """Rectangles of random colours, of the size of CARLA's frames."""
    random = np.random.default_rng(0)
    rows, columns = np.arange(HEIGHT) * 12 // HEIGHT, np.arange(WIDTH) * 20 // WIDTH
    return [random.integers(0, 256, (12, 20, 3), dtype=np.uint8)[rows][:, columns] for _ in range(FRAMES)]


def answer_ms(detector: Detector, picture: SeenPicture) -> float:
    """Milliseconds of the graph and of what is made of its outputs."""
    role = detector.role
    began = time.perf_counter()
    detect_blocking(picture, detector, Selection(role.score_threshold, role.iou_threshold, role.limit))
    return 1000 * (time.perf_counter() - began)


@pytest.mark.skipif(not RELEASED, reason="no vehicle detector is released")
@pytest.mark.parametrize("threads", [1, 2])
def test_pictures_beside_the_reference_detector(capsys: pytest.CaptureFixture[str], threads: int) -> None:
    names = (REFERENCE, *RELEASED)
    detectors = {name: read_detector(OnnxModel.open(newest_folder(MODELS, name), threads=threads)) for name in names}
    seen = {name: [see(frame, one) for frame in frames()] for name, one in detectors.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for name, one in detectors.items():
        answer_ms(one, seen[name][0])
    for round_ in range(2 * ROUNDS):
        for name, one in detectors.items():
            times[name].append(answer_ms(one, seen[name][round_ % FRAMES]))
    rows = [
        {
            "model": name,
            "input": "x".join(map(str, seen[name][0].tensor.shape[2:])),
            "p50 ms": statistics.median(one),
            "p95 ms": float(np.quantile(one, 0.95)),
            f"times {REFERENCE}": statistics.median(a / b for a, b in zip(one, times[REFERENCE], strict=True)),
        }
        for name, one in times.items()
    ]
    show(capsys, f"Detectors, one picture, {threads} threads", rows)
    assert all(one > 0 for each in times.values() for one in each)
