"""Calibrations as they are kept: scores in an NPZ blob by digest, what is said of them as a record in Redis.

Every replica sees the same. Nothing is unpickled, nothing changes after it was written.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.uncertainty.conformal.application.calibration_fit import Fitted, digest_of_arrays
from services.uncertainty.conformal.methods.regression import RegressionCalibration
from services.uncertainty.conformal.schemas.calibrations import (
    CalibrationAnswer,
    ClassificationOptions,
    ModelIdentity,
    RegressionOptions,
)
from services.uncertainty.conformal.storage.serialization import AnyCalibration, restored, stored
from shared.storage.blobs import BlobStore, digest_of

NPZ_TYPE: Final = "application/x-npz"
_RECORD: Final = "record"
_CACHED: Final = 64

Kept = AnyCalibration | RegressionCalibration


@dataclass(frozen=True)
class Entry:
    """What Redis holds of a calibration.

    Attributes:
        answer: as callers see it.
        owner: who may see it.
        blob: digest of the NPZ.
    """

    answer: CalibrationAnswer
    owner: str
    blob: str

    @property
    def options(self) -> ClassificationOptions | RegressionOptions:
        """The options that it was made with."""
        if self.answer.kind == "regression":
            return RegressionOptions.model_validate(self.answer.options)
        return ClassificationOptions.model_validate(self.answer.options)

    def to_json(self) -> str:
        """As one text."""
        record = {"owner": self.owner, "blob": self.blob, "answer": self.answer.model_dump(mode="json")}
        return orjson.dumps(record).decode()

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """What `to_json` wrote."""
        record = orjson.loads(text)
        return cls(CalibrationAnswer.model_validate(record["answer"]), record["owner"], record["blob"])


def make_entry(
    fitted: Fitted,
    options: ClassificationOptions | RegressionOptions,
    *,
    blobs: BlobStore,
    identifier: str,
    owner: str,
    model: ModelIdentity | None = None,
) -> Entry:
    """Store the scores of a calibration as a blob and describe it; the record is still to be kept.

    Args:
        fitted: the calibration.
        options: that it was made with.
        blobs: where the scores go.
        identifier: its id.
        owner: who may see it.
        model: whose answers were calibrated; what the options say of it otherwise.
    """
    arrays, record = _arrays(fitted.calibration)
    model = model or _stated(options)
    said: dict[str, Any] = {"options": options.model_dump(mode="json", exclude={"name", "alpha"}), "record": record}
    said |= {"inputs": fitted.inputs, "model": None if model is None else model.model_dump()}
    version = digest_of(orjson.dumps([said, digest_of_arrays(arrays)], option=orjson.OPT_SORT_KEYS))
    # The id makes the blob this calibration's own, so that deleting one takes nothing from another.
    note = orjson.dumps({"id": identifier, "record": record})
    blob = blobs.put(_npz({**arrays, _RECORD: np.frombuffer(note, np.uint8)}), NPZ_TYPE)
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
        levels=fitted.levels,
        cells=fitted.cells,
        data_digest=fitted.data_digest,
        model=model,
        guarantee=fitted.guarantee,
        warnings=fitted.warnings,
    )
    return Entry(answer, owner, blob.digest)


class CalibrationCache:
    """Calibrations by the digest of their blob, the latest ones used, as they cannot change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Kept] = OrderedDict()

    def peek(self, digest: str) -> Kept | None:
        """One that is at hand, without waiting."""
        with self._lock:
            found = self._known.get(digest)
            if found is not None:
                self._known.move_to_end(digest)
            return found

    def load(self, digest: str, blobs: BlobStore) -> Kept:
        """The calibration of a blob; blocks.

        Raises:
            BlobMissing: there is none.
            BlobCorrupted: it is damaged.
            ValueError: it is no calibration.
        """
        if (found := self.peek(digest)) is not None:
            return found
        loaded = _restored(blobs.get(digest))
        with self._lock:
            self._known[digest] = loaded
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return loaded


def _method(options: ClassificationOptions | RegressionOptions, fitted: Fitted) -> str:
    if isinstance(options, ClassificationOptions):
        return options.method
    calibration = fitted.calibration
    if isinstance(calibration, RegressionCalibration) and calibration.tails[0].weighted:
        return "weighted"
    return (
        "group" if isinstance(calibration, RegressionCalibration) and calibration.tails[0].labels != ("",) else "split"
    )


def _stated(options: ClassificationOptions | RegressionOptions) -> ModelIdentity | None:
    if options.model_name is None and options.model_sha256 is None:
        return None
    return ModelIdentity(name=options.model_name, version=options.model_version, weights_sha256=options.model_sha256)


def _arrays(calibration: Kept) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    if isinstance(calibration, RegressionCalibration):
        return dict(calibration.to_arrays()), calibration.metadata()
    return stored(calibration)


def _restored(content: bytes) -> Kept:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    record = orjson.loads(arrays.pop(_RECORD).tobytes())["record"]
    if record.get("kind") == "regression":
        return RegressionCalibration.from_arrays(arrays, record)
    return restored(arrays, record)


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()
