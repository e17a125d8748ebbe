"""First figures of a trained network; `evaluation` puts all of them beside their baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.medical.chest_xray.patient_statistics import Ranking
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.saliency_metrics import (
    correlation,
    energy_inside,
    histogram_similarity,
    kl_divergence,
    pointing_hit,
)
from services.medical.chest_xray.training.data.manifest import Box, Split
from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.stages.features import answers
from services.medical.chest_xray.training.stages.films import FilmFolder
from services.medical.chest_xray.training.stages.recipes import Recipe
from services.medical.chest_xray.training.stages.run import FinishedRun
from services.medical.chest_xray.training.targets.simulation import SimulatedFilms

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a network says of n films; what it has no head for is None.

    Attributes:
        logits: (n, classes), of the fusion classifier.
        encoder_logits: (n, classes), of the first encoder's own; None where they are not an output.
        opacity: (n,).
        attention: (n, H, W), densities.
    """

    logits: Floats
    encoder_logits: Floats | None
    opacity: Floats | None
    attention: Floats | None


def predict(run: FinishedRun, arrays: NDArray[np.uint8]) -> Predictions:
    """What a trained network says of films uint8 (n, H, W)."""
    found: dict[str, list[torch.Tensor]] = {}
    for answer in answers(run.network, arrays):
        for name in ("logits", "encoder_logits", "opacity"):
            if getattr(answer, name) is not None:
                found.setdefault(name, []).append(getattr(answer, name).cpu())
        if answer.attention_logits is not None:
            maps = answer.attention_logits.flatten(1).softmax(dim=1).reshape(answer.attention_logits.shape)
            found.setdefault("attention", []).append(maps.cpu())
    joined = {name: torch.cat(parts).numpy() for name, parts in found.items()}
    names = ("logits", "encoder_logits", "opacity", "attention")
    return Predictions(*(joined.get(name) for name in names))  # type: ignore[arg-type]


def measure_run(run: FinishedRun, films: FilmFolder, recipe: Recipe, split: Split) -> dict[str, Any]:
    """All figures of a split, for JSON."""
    real = films.films(recipe, split)
    predicted = predict(run, real.arrays)
    found: dict[str, Any] = {"films": len(real), "diagnosis": measure_diagnosis(predicted, real)}
    if predicted.attention is not None:
        simulated = films.simulated(recipe, split)
        shown = predict(run, np.asarray(simulated.arrays)).attention
        mean = mean_map(films.simulated(recipe, "train"))
        if shown is not None:
            found["inserted"] = {
                "network": measure_attention(shown, simulated),
                "mean map": measure_attention(np.broadcast_to(mean, shown.shape), simulated),
            }
        found["boxes"] = {
            "network": measure_boxes(predicted.attention, real),
            "mean map": measure_boxes(np.broadcast_to(mean, predicted.attention.shape), real),
        }
    return found


def measure_diagnosis(predicted: Predictions, films: PreparedFilms) -> dict[str, Any]:
    """Areas under ROC curves with intervals by patient: radiologists' opacities, then each text-mined class."""
    patients = np.array([film.patient for film in films.films])
    labels = np.array([film.label for film in films.films])
    found: dict[str, Any] = {}
    if predicted.opacity is not None:
        judged = np.array([film.opacity is not None for film in films.films])
        opaque = np.array([bool(film.opacity) for film in films.films])
        area = _area(predicted.opacity[judged], opaque[judged], patients[judged])
        found["opacity"] = {"auc": area, "films": int(judged.sum()), "positive": int(opaque[judged].sum())}
    for name, logits in (("fusion", predicted.logits), ("encoder", predicted.encoder_logits)):
        if logits is not None:
            margins = {one: _margin(logits, index) for index, one in enumerate(CLASSES)}
            found[name] = {
                one: _area(margin, labels == CLASSES.index(one), patients) for one, margin in margins.items()
            } | {"accuracy": round(float((logits.argmax(axis=1) == labels).mean()), 4)}
    return found


def _area(scores: Floats, positive: NDArray[np.bool_], patients: NDArray[Any]) -> list[float | None]:
    """Area under the ROC curve, low and high end of its interval; none of them where all films are of one kind."""
    if positive.all() or not positive.any():
        return [None, None, None]
    found = Ranking(positive, patients).auc(scores)
    return [None if one is None else round(one, 4) for one in (found.value, found.low, found.high)]


def _margin(logits: Floats, index: int) -> Floats:
    """The logarithm of the odds of a class against all others."""
    others = np.delete(logits, index, axis=1)
    margin: Floats = logits[:, index] - np.logaddexp.reduce(others, axis=1)
    return margin


def mean_map(films: SimulatedFilms) -> Floats:
    """The mean attention of films, the prior that knows all but the film."""
    total = np.zeros(films.attention.shape[1:], np.float64)
    for one in films.attention:
        total += one
    mean: Floats = (total / total.sum()).astype(np.float32)
    return mean


def measure_attention(maps: Floats, films: SimulatedFilms) -> dict[str, float]:
    """Means over films with inserted findings."""
    targets = [np.asarray(one, np.float32) for one in films.attention]
    measures = {"KL": kl_divergence, "CC": correlation, "HS": histogram_similarity}
    return {
        name: round(float(np.mean([measure(target, one) for target, one in zip(targets, maps, strict=True)])), 4)
        for name, measure in measures.items()
    }


def measure_boxes(maps: Floats, films: PreparedFilms) -> dict[str, float | int]:
    """Means over films with a radiologist's boxes: hits of the largest value, and share of the density inside."""
    hits, energies = [], []
    for index, one in enumerate(maps):
        boxes = films.boxes(index)
        if boxes:
            inside = boxes_mask(boxes, one.shape)
            hits.append(pointing_hit(inside, one))
            energies.append(energy_inside(inside, one))
    if not hits:
        return {"films": 0}
    means = {"pointing": round(float(np.mean(hits)), 4), "energy": round(float(np.mean(energies)), 4)}
    return {"films": len(hits), **means}


def boxes_mask(boxes: list[Box], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of a grid whose middle lies in a box."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = np.zeros(shape, bool)
    for x, y, width, height in boxes:
        inside |= (rows + 0.5 >= y) & (rows + 0.5 < y + height) & (columns + 0.5 >= x) & (columns + 0.5 < x + width)
    return inside
