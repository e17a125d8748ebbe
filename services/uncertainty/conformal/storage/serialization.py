"""Calibrations as NPZ files: plain arrays of numbers and a JSON record; nothing is ever pickled or unpickled."""

from __future__ import annotations

import io
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.methods.classification.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.classification.taxonomies import TAXONOMIES, Taxonomy
from services.uncertainty.conformal.methods.classification.weighted_calibration import WeightedCalibration
from services.uncertainty.conformal.methods.group_scores import Cells
from services.uncertainty.conformal.methods.levels import WeightedScores
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.methods.scores import SCORES, Score, Transform

ClassifierCalibration: TypeAlias = Calibration | WeightedCalibration | RankCalibration
AnyCalibration: TypeAlias = ClassifierCalibration | RegressionCalibration
Arrays = dict[str, NDArray[Any]]
Record = dict[str, Any]

_RECORD: Final = "record"
"""Name of the array of an NPZ file that holds the JSON record, as bytes."""


def to_arrays(calibration: AnyCalibration) -> tuple[Arrays, Record]:
    """Take a calibration apart; `from_arrays` puts it together again.

    Returns:
        Arrays of numbers by name, and a record that JSON can hold.
    """
    if isinstance(calibration, RegressionCalibration):
        return dict(calibration.to_arrays()), calibration.metadata()
    return classifier_to_arrays(calibration)


def from_arrays(arrays: Arrays, record: Record) -> AnyCalibration:
    """Put a calibration together.

    Raises:
        ValueError: the record or the arrays are not those of a calibration.
    """
    if record.get("kind") == "regression":
        return RegressionCalibration.from_arrays(arrays, record)
    return classifier_from_arrays(arrays, record)


def to_npz(arrays: Arrays, record: Record, *, identifier: str) -> bytes:
    """Write an NPZ file.

    Args:
        arrays: of `to_arrays`.
        record: of `to_arrays`.
        identifier: of the calibration; makes the file its own, so that deleting it takes nothing from another.
    """
    note = orjson.dumps({"id": identifier, "record": record})
    stream = io.BytesIO()
    np.savez(stream, **arrays, **{_RECORD: np.frombuffer(note, np.uint8)})  # type: ignore[arg-type]
    return stream.getvalue()


def from_npz(content: bytes) -> AnyCalibration:
    """Read what `to_npz` wrote.

    Raises:
        ValueError: it is no calibration.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return from_arrays(arrays, orjson.loads(arrays.pop(_RECORD).tobytes())["record"])


def classifier_to_arrays(calibration: ClassifierCalibration) -> tuple[Arrays, Record]:
    """Take a classifier's calibration apart; see `to_arrays`."""
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


def classifier_from_arrays(arrays: Arrays, record: Record) -> ClassifierCalibration:
    """Put a classifier's calibration together.

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
