"""Calibrations as plain arrays and a JSON record, for NPZ files and blobs; nothing is ever unpickled."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.calibration import Calibration
from services.uncertainty.conformal.methods.group_scores import Cells
from services.uncertainty.conformal.methods.levels import WeightedScores
from services.uncertainty.conformal.methods.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.scores import SCORES, Score, Transform
from services.uncertainty.conformal.methods.taxonomies import TAXONOMIES, Taxonomy
from services.uncertainty.conformal.methods.weighted_calibration import WeightedCalibration

AnyCalibration: TypeAlias = Calibration | WeightedCalibration | RankCalibration
Arrays = dict[str, NDArray[Any]]
Record = dict[str, Any]


def stored(calibration: AnyCalibration) -> tuple[Arrays, Record]:
    """The arrays, all of numbers, and a record that JSON can hold; `restored` makes the calibration of them again."""
    arrays, score = _score_record(calibration.score)
    record: Record = {"score": score}
    match calibration:
        case Calibration(taxonomy=taxonomy, cells=cells):
            record |= {"method": "split", "taxonomy": {"name": taxonomy.name, **_values(taxonomy)}}
            arrays |= {"scores": cells.scores, "starts": cells.starts}
        case WeightedCalibration(scores=weighted, classes=classes):
            record |= {"method": "weighted", "classes": classes}
            arrays |= {"scores": weighted.scores, "weights": weighted.weights}
        case RankCalibration(scores=scores, ranks=ranks):
            record |= {"method": "rc3p"}
            arrays |= {"scores": scores.scores, "starts": scores.starts, "ranks": ranks.scores}
    return arrays, record


def restored(arrays: Arrays, record: Record) -> AnyCalibration:
    """The calibration that was stored.

    Raises:
        ValueError: the record or the arrays are not those of a calibration.
    """
    try:
        score = _score(arrays, record["score"])
        match record["method"]:
            case "split":
                cells = Cells(arrays["scores"], arrays["starts"])
                return Calibration(score=score, taxonomy=_taxonomy(record["taxonomy"]), cells=cells)
            case "weighted":
                weighted = WeightedScores(arrays["scores"], arrays["weights"])
                return WeightedCalibration(score=score, scores=weighted, classes=record["classes"])
            case "rc3p":
                scores, ranks = (Cells(arrays[name], arrays["starts"]) for name in ("scores", "ranks"))
                return RankCalibration(score=score, scores=scores, ranks=ranks)
            case method:
                raise ValueError(f"no method {method!r}")
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a stored calibration: {error}") from error


def _values(record: Score | Taxonomy) -> Record:
    """The fields that are no arrays."""
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    return {
        name: str(value) if isinstance(value, StrEnum) else value
        for name, value in values.items()
        if not isinstance(value, np.ndarray)
    }


def _score_record(score: Score) -> tuple[Arrays, Record]:
    values = ((one.name, getattr(score, one.name)) for one in fields(score))
    arrays: Arrays = {f"score_{name}": value for name, value in values if isinstance(value, np.ndarray)}
    return arrays, {"name": score.name, **_values(score)}


def _score(arrays: Arrays, record: Record) -> Score:
    values = {name: value for name, value in record.items() if name != "name"}
    if "transform" in values:
        values["transform"] = Transform(values["transform"])
    values |= {name.removeprefix("score_"): value for name, value in arrays.items() if name.startswith("score_")}
    return SCORES[record["name"]](**values)


def _taxonomy(record: Record) -> Taxonomy:
    items = ((name, tuple(value) if isinstance(value, list) else value) for name, value in record.items())
    values: Record = {name: value for name, value in items if name != "name"}
    return TAXONOMIES[record["name"]](**values)
