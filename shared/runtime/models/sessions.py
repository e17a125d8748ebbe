"""One verified ONNX model, ready to run on the CPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.runtime.cancellation import current_cancellation
from shared.runtime.cards import ModelCard, UploadedCard, read_card, read_weights
from shared.runtime.inspection.preparation import prepare
from shared.runtime.inspection.sandbox import input_shapes
from shared.runtime.inspection.verification import MOST_BYTES, verify
from shared.runtime.session_options import session_options
from shared.runtime.warm_up import WarmUp
from shared.telemetry.timing import note_model

if TYPE_CHECKING:
    import onnxruntime

_TRIES = 5
_TOO_QUICK_FOR_THREADS_S = 0.001
_CLEARLY_SLOW_S = 0.01

Tensors = Mapping[str, NDArray[np.generic]]


class OnnxModel:
    """A card and the session made from the weights that it describes.

    Sessions do not survive a fork: open models in the process that runs them. `run` is thread-safe.

    Args:
        card: the model's card.
        weights: content of the ONNX file, or what reads it when the model is first run.
        threads: threads that one run computes with.
        outputs: names of the outputs to return, those of the card by default; for graphs that were made of the card's.

    Attributes:
        single_threaded: the same model with one thread, to be run as many times at once as `lanes` says; see
            `shared.runtime.batching.executors`.
    """

    def __init__(
        self,
        card: UploadedCard,
        weights: bytes | Callable[[], bytes],
        *,
        threads: int,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.card = card
        self._threads = card.runtime.threads or threads
        self._read = weights if callable(weights) else None
        self._making = threading.Lock()
        self._session = None if callable(weights) else self._make_session(weights)
        self._output_names = list(outputs or (output.name for output in card.outputs))
        self.single_threaded: OnnxModel | None = None
        self.lanes = 1

    @classmethod
    def open(cls, folder: Path, *, threads: int, shared: bool = False) -> OnnxModel:
        """Open the model of a folder, comparing its file with the card first.

        Args:
            folder: that holds both.
            threads: of one run.
            shared: whether many requests will share it, so that some of them are to be computed beside each other.

        Returns:
            The model, without a session until it is first run if its card wants it `on_demand`.

        Raises:
            DigestMismatch: the weights are not those of the card.
            Refused: the file is no graph as the card describes it, or names other files.
        """
        card = read_card(folder)
        weights = read_weights(folder, card)
        facts = verify(weights, card, most_bytes=max(MOST_BYTES, len(weights)))
        if card.runtime.on_demand:
            return cls(card, partial(_read_prepared, folder, card), threads=threads)
        return cls.made(card, prepare(weights, facts), threads=threads, shared=shared)

    @classmethod
    def made(
        cls,
        card: UploadedCard,
        weights: bytes,
        *,
        threads: int,
        shared: bool = False,
        size: int = 64,
    ) -> OnnxModel:
        """Make a session and run it once; on one thread where more would not pay.

        Waking a thread that does not spin takes longer than it helps in a run of less than a millisecond, and the other
        core has something to do meanwhile. A card that names its threads is obeyed.

        Args:
            card: the model's card.
            weights: content of the ONNX file, prepared (`shared.runtime.inspection.preparation`).
            threads: of one run.
            shared: see `open`.
            size: of named axes of which the card says nothing, for runs that try it.
        """
        model = cls(card, weights, threads=threads)
        model.warm_up(size=size)
        if threads == 1 or card.runtime.threads is not None:
            return model
        if model._is_quick(size):
            model = cls(card, weights, threads=1)
            model.warm_up(size=size)
            return model
        if shared:
            model.single_threaded, model.lanes = cls(card, weights, threads=1), threads
        return model

    def is_open(self) -> bool:
        """Whether it has a session; one that is made on demand has none before the first run."""
        return self._session is not None

    def _make_session(self, weights: bytes) -> onnxruntime.InferenceSession:
        import onnxruntime  # 20 MB, which a service without models is spared

        wanted = self.card.runtime
        arena = wanted.arena or (_is_bounded(self.card) and not wanted.on_demand)
        options = session_options(self._threads, spinning=wanted.spinning, arena=arena)
        session = onnxruntime.InferenceSession(weights, sess_options=options, providers=["CPUExecutionProvider"])
        # It would keep the file's content for a change of providers, which there is none of.
        session._model_bytes = None
        return session

    def _opened(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            with self._making:
                if self._session is None and self._read is not None:
                    self._session = self._make_session(self._read())
        assert self._session is not None  # noqa: S101 - it was given or has been made
        return self._session

    def _is_quick(self, size: int) -> bool:
        """Whether one of a few runs takes too little time for several threads; a long one needs no second try."""
        for _ in range(_TRIES):
            seconds = self.warm_up(size=size)
            if seconds <= _TOO_QUICK_FOR_THREADS_S:
                return True
            if seconds > _CLEARLY_SLOW_S:
                return False
        return False

    def run(self, inputs: Tensors, *, common: Tensors | None = None) -> list[NDArray[Any]]:
        """Run the graph; outputs come in the order of the card, or of `outputs`.

        Args:
            inputs: arrays by name.
            common: further inputs; kept apart where runs are put together in batches.

        Raises:
            Interrupted: the computation that this belongs to was told to stop.
        """
        import onnxruntime

        note_model(self.card.name, self.card.version)
        session = self._opened()
        options = onnxruntime.RunOptions()
        interruption = current_cancellation()
        with interruption.attach(options) if interruption else nullcontext():
            outputs: list[NDArray[Any]] = session.run(self._output_names, {**inputs, **(common or {})}, options)
        return outputs

    def warm_up(self, *, size: int = 64) -> float:
        """Run once on zeros, or on the examples of the card; returns the seconds it took.

        Args:
            size: of named axes of which the card says nothing.
        """
        inputs = WarmUp.read(self.card.parameters).arrays(input_shapes(self.card), size=size)
        began = time.perf_counter()
        self.run(inputs)
        return time.perf_counter() - began


def _read_prepared(folder: Path, card: ModelCard) -> bytes:
    weights = read_weights(folder, card)
    return prepare(weights, verify(weights, card, most_bytes=max(MOST_BYTES, len(weights))))


def _is_bounded(card: UploadedCard) -> bool:
    """Whether every axis but the batch has one size, so that no input makes a run take much more memory than others.

    Without an arena each run of a batch asks the system for its memory anew, which costs up to half of the time.
    """
    sides = [side for tensor in card.inputs for side in tensor.shape]
    return all(isinstance(side, int) or side == "batch" for side in sides)
