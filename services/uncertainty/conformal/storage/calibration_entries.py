"""Calibrations as they are stored: scores in an NPZ blob by digest, their description as a record in Redis.

Every replica sees the same. Nothing changes after it was written.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import orjson

from services.uncertainty.conformal.schemas.calibrations import (
    CalibrationAnswer,
    ClassificationOptions,
    RegressionOptions,
)
from services.uncertainty.conformal.schemas.used_options import STORED
from services.uncertainty.conformal.storage.serialization import AnyCalibration, from_npz
from shared.storage.blobs import BlobStore

NPZ_TYPE: Final = "application/x-npz"
_CACHED: Final = 64
"""Most calibrations in the memory of a process."""


@dataclass(frozen=True)
class CalibrationEntry:
    """The description of a calibration, as Redis holds it.

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
        """The options that the calibration was fitted with."""
        if self.answer.kind == "regression":
            return RegressionOptions.model_validate(self.answer.options, context=STORED)
        return ClassificationOptions.model_validate(self.answer.options, context=STORED)

    def to_json(self) -> str:
        """Encode as JSON."""
        record = {"owner": self.owner, "blob": self.blob, "answer": self.answer.model_dump(mode="json")}
        return orjson.dumps(record).decode()

    @classmethod
    def from_json(cls, text: str) -> CalibrationEntry:
        """Decode what `to_json` wrote."""
        record = orjson.loads(text)
        return cls(CalibrationAnswer.model_validate(record["answer"]), record["owner"], record["blob"])


class CalibrationCache:
    """The latest calibrations that were used, by the digest of their blob; they cannot change. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calibrations: OrderedDict[str, AnyCalibration] = OrderedDict()

    def peek(self, digest: str) -> AnyCalibration | None:
        """The calibration of a blob if it is in memory; does not wait."""
        with self._lock:
            calibration = self._calibrations.get(digest)
            if calibration is not None:
                self._calibrations.move_to_end(digest)
            return calibration

    def load(self, digest: str, blobs: BlobStore) -> AnyCalibration:
        """Read the calibration of a blob; blocks.

        Raises:
            BlobMissing: there is none.
            BlobCorrupted: it is damaged.
            ValueError: it is no calibration.
        """
        if (cached := self.peek(digest)) is not None:
            return cached
        loaded = from_npz(blobs.get(digest))
        with self._lock:
            self._calibrations[digest] = loaded
            while len(self._calibrations) > _CACHED:
                self._calibrations.popitem(last=False)
        return loaded
