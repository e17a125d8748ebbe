"""What is measured of a file before it is released: its precision, how closely it follows the network, its time."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.training.data import DetectionSet
from services.perception.detection.training.evaluate import AveragePrecision, average_precision, evaluate
from services.perception.detection.training.served import as_tensors, detect_served
from services.perception.detection.training.thresholds import OperatingFigures, operating_figures
from shared.detectors.detections import Detections
from shared.detectors.inference import see
from shared.detectors.models import Detector as ServedDetector
from shared.detectors.roles import BOXES, IMAGE, SCORES
from shared.runtime.cards import Latency

COMPARED: Final = 8
"""Pictures on which network and file are compared."""
RESAMPLES: Final = 500
"""Of the test part; each takes a third of a second."""
_PASSES: Final = 50
_SUREST: Final = 100
"""Regions and classes of a picture that are compared: more are never answered unless a request says so."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a file to the network that it was made of, over its surest regions.

    Attributes:
        boxes: largest, of an edge in pixels.
        scores: largest.
        regions: that were compared.
        pictures: that they are of.
    """

    boxes: float
    scores: float
    regions: int = 0
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class ServedFigures:
    """What a file is worth on the pictures of the test part.

    Attributes:
        served: by the way of the service.
        network: of the network in torch, on the same pictures.
        interval: 95 % of the served AP50.
        operating: at the threshold of the card.
    """

    served: AveragePrecision
    network: AveragePrecision
    interval: tuple[float, float]
    operating: OperatingFigures


def measure_served(
    served: ServedDetector, network: Detector, data: DetectionSet, *, resamples: int = RESAMPLES
) -> ServedFigures:
    """Measure a file, and the network beside it, at the threshold of the file's card.

    Raises:
        ModuleNotFoundError: faster-coco-eval is not installed.
    """
    found = detect_served(served, data)
    return ServedFigures(
        average_precision(data, as_tensors(found)).mean,
        evaluate(network, data).mean,
        ap50_interval(data, found, resamples=resamples),
        operating_figures(data, found, served.role.score_threshold),
    )


def ap50_interval(
    data: DetectionSet, found: Sequence[Detections], *, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of AP50, by drawing pictures again (bootstrap, percentiles)."""
    random, detections, values = np.random.default_rng(0), as_tensors(found), []
    for _ in range(resamples):
        drawn = random.integers(0, len(data), len(data)).tolist()
        values.append(average_precision(data.take(drawn), [detections[index] for index in drawn]).mean.ap50)
    low, high = np.nanquantile(values, [0.025, 0.975])  # without objects in any picture drawn it is not a number
    return float(low), float(high)


def compare(served: ServedDetector, network: Detector, data: DetectionSet) -> Difference:
    """Raw outputs of file and network on the first pictures with objects.

    Each region of the file is compared with the one of the network that is most like it, since regions with near-equal
    scores change places.
    """
    chosen = [index for index, targets in enumerate(data.targets) if len(targets)][:COMPARED]
    boxes = scores = 0.0
    regions = 0
    for index in chosen:
        tensor = see(data.images[index], served).tensor
        with torch.no_grad():
            (expected,) = network.eval().predict(torch.from_numpy(tensor))
        answered = _by_name(served, tensor)
        wanted = _rows(expected.boxes.numpy(), expected.scores.numpy())
        found = _rows(answered[BOXES], answered[SCORES])
        for row in found[np.argsort(-found[:, 5])[:_SUREST]]:
            nearest = np.abs(wanted - row)
            best = nearest[(nearest / _SCALES).max(axis=1).argmin()]
            boxes, scores = max(boxes, float(best[:4].max())), max(scores, float(best[5]))
            regions += 1
    return Difference(boxes, scores, regions, len(chosen))


_SCALES: Final = np.array([1, 1, 1, 1, 1e-6, 0.01])
"""Of differences that count the same: a pixel and a hundredth of a score; classes are never compared with others."""


def _rows(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Edges, label and score of each region and class, (regions * classes, 6)."""
    count, classes = scores.shape
    each = np.broadcast_to(boxes[:, None], (count, classes, 4)) if boxes.ndim == 2 else boxes
    labels = np.broadcast_to(np.arange(classes)[:, None], (count, classes, 1))
    return np.concatenate([each, labels, scores[..., None]], axis=2).reshape(-1, 6).astype(np.float64)


def _by_name(served: ServedDetector, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    names = (one.name for one in served.model.card.outputs)
    return dict(zip(names, served.model.run({IMAGE: tensor}), strict=True))


def measure_latency(served: ServedDetector, image: NDArray[np.uint8], *, passes: int = _PASSES) -> Latency:
    """Median time of the graph for a picture, with the load of the machine before, since others may work on it.

    Args:
        served: opened with one thread.
        image: uint8 RGB (height, width, 3).
        passes: timed; one more goes before them.
    """
    load, tensor, times = os.getloadavg()[0], see(image, served).tensor, []
    for _ in range(passes + 1):
        began = time.perf_counter()
        served.model.run({IMAGE: tensor})
        times.append(time.perf_counter() - began)
    cores = len(os.sched_getaffinity(0))
    return Latency(
        what=f"one picture, {tensor.shape[2]} x {tensor.shape[3]}, onnxruntime, median of {passes} passes",
        value_ms=max(round(float(np.median(times[1:])) * 1000, 3), 0.001),
        machine=f"{platform.machine()} CPU, {cores} cores; load {load:.1f} when it began, where 1 is a busy core",
        threads=1,
    )
