"""Entries of new calibrations: what is stored, and the version that says whether two calibrations predict the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from services.uncertainty.conformal.application.fitted_calibration import FittedCalibration, digest_of_arrays
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.schemas.calibrations import (
    CalibrationAnswer,
    ClassificationOptions,
    ModelIdentity,
    RegressionOptions,
)
from services.uncertainty.conformal.storage.calibration_entries import NPZ_TYPE, CalibrationEntry
from services.uncertainty.conformal.storage.serialization import to_arrays, to_npz
from shared.storage.blobs import BlobStore, digest_of

LISTED_CELLS: Final = 100
"""Cells that the description of a calibration holds; others are read page by page."""


def create_entry(
    fitted: FittedCalibration,
    options: ClassificationOptions | RegressionOptions,
    *,
    blobs: BlobStore,
    identifier: str,
    owner: str,
    model: ModelIdentity | None = None,
) -> CalibrationEntry:
    """Store the scores of a calibration as a blob and describe it; the entry itself is not stored yet.

    Args:
        fitted: the calibration.
        options: that it was made with.
        blobs: where the scores go.
        identifier: its id.
        owner: who may see it.
        model: whose answers were calibrated; the one that the options name if None.
    """
    if isinstance(options, ClassificationOptions):
        options = options.model_copy(update={"seed": fitted.seed})
    arrays, record = to_arrays(fitted.calibration)
    model = model or _stated_model(options)
    # The method of a regression follows from its arrays, whether it was named or not.
    left_out = {"name", "alpha"} | ({"method"} if isinstance(options, RegressionOptions) else set())
    identity: dict[str, Any] = {"options": options.model_dump(mode="json", exclude=left_out), "record": record}
    identity |= {"inputs": fitted.inputs, "model": None if model is None else model.model_dump()}
    if fitted.class_labels is not None:
        identity["class_labels"] = fitted.class_labels
    version = digest_of(orjson.dumps([identity, digest_of_arrays(arrays)], option=orjson.OPT_SORT_KEYS))
    blob = blobs.put(to_npz(arrays, record, identifier=identifier), NPZ_TYPE)
    answer = CalibrationAnswer(
        id=identifier,
        version=version,
        name=options.name,
        kind=options.kind,
        method=_method(options, fitted),
        score=options.score,
        inputs=fitted.inputs,
        options=options.model_dump(mode="json"),
        created_at=datetime.now(UTC),
        n=fitted.count,
        effective_n=fitted.effective_count,
        classes=fitted.classes,
        class_labels=fitted.class_labels,
        levels=fitted.levels,
        cells=fitted.cells[:LISTED_CELLS],
        cells_total=len(fitted.cells),
        data_digest=fitted.data_digest,
        model=model,
        guarantee=fitted.guarantee,
        warnings=fitted.warnings,
    )
    return CalibrationEntry(answer, owner, blob.digest)


def _method(options: ClassificationOptions | RegressionOptions, fitted: FittedCalibration) -> str:
    if isinstance(options, ClassificationOptions):
        return options.method
    calibration = fitted.calibration
    if isinstance(calibration, RegressionCalibration) and calibration.tails[0].weighted:
        return "weighted"
    return (
        "group" if isinstance(calibration, RegressionCalibration) and calibration.tails[0].labels != ("",) else "split"
    )


def _stated_model(options: ClassificationOptions | RegressionOptions) -> ModelIdentity | None:
    if options.model_name is options.model_version is options.model_sha256 is None:
        return None
    return ModelIdentity(name=options.model_name, version=options.model_version, weights_sha256=options.model_sha256)
