"""Measures explanations of the released classifier of ImageNet's classes, on photographs.

Seventeen photographs whose subject is known are few: the figures say what to expect of one network, not which method is
the better one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from services.declarations import SERVICES
from services.uncertainty.explanation.graphs import TrustedSource
from services.uncertainty.explanation.inference import Explainer
from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.training import metrics
from shared.datasets.photos import subjects
from shared.imaging.preprocessing import preprocessing_of
from shared.runtime.cards import ModelCard, read_card, read_weights
from shared.runtime.models.registry import newest_folder

NAME: Final = "imagenet-lite0"
MOSAICS: Final = 24
STEPS: Final = 16
"""Of integrated gradients here, a third of what the service takes."""

PARTS: Final = ("memory_mib", "sums", "cost_ms", "mosaics", "classes")
"""The memory first, as it is that of the process."""

_PLACED: Final = tuple(method for method in Method if method is not Method.INTEGRATED_GRADIENTS)
_ADDS_UP: Final = (Method.SRD, Method.LRP_EPSILON, Method.LRP_Z_PLUS)
_ROUNDS: Final = 7
_PIXEL_LIMIT: Final = 10**8

Array = NDArray[np.float32]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph with a subject that the network names first.

    Attributes:
        whole: what the network sees of it, float32 (3, 224, 224).
        quarter: the same at half the height and width.
        label: the class.
    """

    whole: Array
    quarter: Array
    label: int


def open_explainer(*, threads: int) -> tuple[ModelCard, Explainer]:
    """The released classifier, without any graph."""
    folder = newest_folder(SERVICES / "perception" / "models", NAME)
    card = read_card(folder)
    return card, Explainer(card, TrustedSource(partial(read_weights, folder, card)), threads=threads)


def read_photographs(data: Path, card: ModelCard, explainer: Explainer) -> list[Photograph]:
    """Those whose subject the network names first."""
    names, wanted, side = card.parameters["classes"], preprocessing_of(card.parameters), explainer.height
    assert isinstance(names, list)  # noqa: S101 - the card of a released classifier
    found = []
    for path, right in subjects(data).items():
        whole, quarter = (
            wanted.read(path.read_bytes(), height=size, width=size, pixel_limit=_PIXEL_LIMIT, pointer=path.name)
            for size in (side, side // 2)
        )
        label = int(explainer.explain(whole[None], Method.CAM).explained[0])
        if names[label] in right:
            found.append(Photograph(whole, quarter, label))
    return found


class PhotographEvaluation:
    """All measurements, each of which takes less than half a minute.

    Args:
        data: folder of the data sets.
        threads: threads that one run computes with.
    """

    def __init__(self, data: Path, *, threads: int) -> None:
        self._data, self._threads = data, threads
        self.card, self.explainer = open_explainer(threads=threads)

    @cached_property
    def photographs(self) -> list[Photograph]:
        """Those whose subject the network names first."""
        return read_photographs(self._data, self.card, self.explainer)

    def measure(self, part: str) -> Record:
        """One of `PARTS`."""
        match part:
            case "memory_mib":
                return _memory(self.explainer)
            case "sums":
                return _sums(self.explainer, self.photographs)
            case "cost_ms":
                return _cost(self.photographs)
            case "mosaics":
                return _mosaics(self.explainer, self.photographs, MOSAICS)
            case "classes":
                return _classes(self.explainer, self.photographs)
        raise KeyError(part)


def _memory(explainer: Explainer) -> Record:
    """Resident memory of this process, MiB: before any graph is made, and after each method has been run."""
    picture = np.zeros((1, 3, explainer.height, explainer.width), np.float32)
    found = {"before": _resident()}
    for method in Method:
        explainer.explain(picture, method, steps=1)
        found[method.value] = _resident()
    return found


def _resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def _sums(explainer: Explainer, photographs: Sequence[Photograph]) -> Record:
    """Sum of the relevance over the logit, of methods that share the logit out; and |relevance| over it."""
    record: Record = {}
    for method in _ADDS_UP:
        ratios, sizes = [], []
        for one in photographs:
            found = explainer.explain(one.whole[None], method)
            logit = float(found.logits[0, found.explained[0]])
            ratios.append(float(found.relevance.sum(dtype=np.float64)) / logit)
            sizes.append(float(np.abs(found.relevance).sum(dtype=np.float64)) / logit)
        record[method.value] = {
            "median": float(np.median(ratios)),
            "largest_error": float(np.abs(np.array(ratios) - 1).max()),
            "absolute": float(np.median(sizes)),
        }
    return record


def _cost(photographs: Sequence[Photograph]) -> Record:
    """Middle time of one picture on one thread, and what the first takes, which makes the graph; milliseconds."""
    _, explainer = open_explainer(threads=1)
    record = {}
    for method in Method:
        times = []
        for index in range(_ROUNDS if method is not Method.INTEGRATED_GRADIENTS else 2):
            began = time.perf_counter()
            explainer.explain(photographs[index].whole[None], method, steps=STEPS)
            times.append(1000 * (time.perf_counter() - began))
        record[method.value] = {"first": round(times[0]), "middle": round(float(np.median(times[1:])))}
    return record


def _mosaics(explainer: Explainer, photographs: Sequence[Photograph], count: int) -> Record:
    """The grid pointing game (Bohle et al. 2021, section 4.2): four subjects in a square, one is asked for."""
    random, side = np.random.default_rng(0), explainer.height // 2
    labels = np.array([one.label for one in photographs])
    hits: dict[Method, list[float]] = {method: [] for method in _PLACED}
    shares: dict[Method, list[float]] = {method: [] for method in _PLACED}
    for index in tqdm(range(count), desc="mosaics"):
        kinds = random.choice(np.unique(labels), 4, replace=False)
        chosen = [photographs[int(random.choice(np.flatnonzero(labels == kind)))] for kind in kinds]
        picture, asked = _square([one.quarter for one in chosen]), int(random.integers(4))
        mask = np.zeros((1, 2 * side, 2 * side), np.bool_)
        top, left = side * (asked // 2), side * (asked % 2)
        mask[0, top : top + side, left : left + side] = True
        target = np.array([kinds[asked]], np.int64)
        for method in _PLACED:
            found = explainer.explain(picture[None], method, targets=target, seed=index).relevance
            hits[method] += metrics.pointing(found, mask).tolist()
            shares[method] += metrics.localisation(found, mask).tolist()
    return {"pictures": count, "pointing": _intervals(hits), "localisation": _intervals(shares)}


def _square(quarters: Sequence[Array]) -> Array:
    rows = [np.concatenate(quarters[at : at + 2], axis=2) for at in (0, 2)]
    return np.concatenate(rows, axis=1)


def _classes(explainer: Explainer, photographs: Sequence[Photograph]) -> Record:
    """Rank correlation of the map of the subject with that of the class that comes second: near 1, it says neither."""
    record: dict[Method, list[float]] = {}
    for method in (Method.SRD, Method.SRD_CONTRAST, Method.CAM):
        record[method] = []
        for one in photographs:
            logits = explainer.explain(one.whole[None], Method.CAM).logits[0]
            second = int(np.argsort(-logits)[1])
            maps = [
                explainer.explain(one.whole[None], method, targets=np.array([label], np.int64)).relevance
                for label in (one.label, second)
            ]
            record[method] += metrics.similarity(*maps).tolist()
    return _intervals(record)


def _intervals(figures: Mapping[Method, Sequence[float]]) -> Record:
    return {method.value: metrics.interval(np.array(values)) for method, values in figures.items()}
