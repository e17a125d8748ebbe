"""One verified ONNX model, ready to run on the CPU."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.runtime.cards import ModelCard, RuntimeOptions, read_card, read_weights
from shared.runtime.interruption import current_interruption
from shared.telemetry.timing import note_model

_TRIES = 5
_TOO_QUICK_FOR_THREADS_S = 0.001

Tensors = Mapping[str, NDArray[np.generic]]


def session_options(threads: int, runtime: RuntimeOptions | None = None) -> onnxruntime.SessionOptions:
    """Options for a process that shares its cores with others.

    Threads are explicit because the default is the host's core count, whatever the container may use; they do
    not spin, because a spinning pool takes a core from the sessions beside it; and the arena is off, because
    it never gives back what one large image made it take. A card may say otherwise of its model.

    Args:
        threads: that one run computes with, unless the card says otherwise.
        runtime: of the card.
    """
    runtime = runtime or RuntimeOptions()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads or threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = runtime.arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(runtime.spinning)))
    options.log_severity_level = 3
    return options


class OnnxModel:
    """A card and the session made from the weights that it describes.

    Sessions do not survive a fork: open models in the process that runs them. `run` is thread-safe.

    Args:
        card: the model's card.
        weights: content of the ONNX file.
        threads: threads that one run computes with.
        outputs: names of the outputs to return, those of the card by default; for graphs that were made of the card's.
    """

    def __init__(self, card: ModelCard, weights: bytes, *, threads: int, outputs: Sequence[str] | None = None) -> None:
        self.card = card
        self._session = onnxruntime.InferenceSession(
            weights, sess_options=session_options(threads, card.runtime), providers=["CPUExecutionProvider"]
        )
        self._output_names = list(outputs or (output.name for output in card.outputs))

    @classmethod
    def open(cls, folder: Path, *, threads: int) -> OnnxModel:
        """Open the model of a folder, comparing its weights with the card first.

        Raises:
            DigestMismatch: the weights are not those of the card.
        """
        card = read_card(folder)
        return cls.made(card, read_weights(folder, card), threads=threads)

    @classmethod
    def made(cls, card: ModelCard, weights: bytes, *, threads: int) -> OnnxModel:
        """Make a session, on one thread where more would not pay.

        Waking a thread that does not spin takes longer than it helps in a run of less than a millisecond, and the other
        core has something to do meanwhile. A card that names its threads is obeyed.
        """
        model = cls(card, weights, threads=threads)
        if threads == 1 or card.runtime.threads is not None:
            return model
        model.warm_up()
        quickest = min(model.warm_up() for _ in range(_TRIES))
        return model if quickest > _TOO_QUICK_FOR_THREADS_S else cls(card, weights, threads=1)

    def run(self, inputs: Tensors, *, common: Tensors | None = None) -> list[NDArray[Any]]:
        """Run the graph; outputs come in the order of the card, or of `outputs`.

        Args:
            inputs: arrays by name.
            common: further inputs; kept apart where runs are put together in batches.

        Raises:
            Interrupted: the computation that this belongs to was told to stop.
        """
        note_model(self.card.name, self.card.version)
        options = onnxruntime.RunOptions()
        interruption = current_interruption()
        with interruption.covering(options) if interruption else nullcontext():
            outputs: list[NDArray[Any]] = self._session.run(self._output_names, {**inputs, **(common or {})}, options)
        return outputs

    def warm_up(self, *, size: int = 64) -> float:
        """Run once on zeros, with `size` for every named dimension of images; returns the seconds it took."""
        began = time.perf_counter()
        self.run({tensor.name: _zeros(tensor.shape, tensor.dtype, size) for tensor in self.card.inputs})
        return time.perf_counter() - began


def _zeros(shape: list[int | str], dtype: str, size: int) -> NDArray[Any]:
    sizes = [side if isinstance(side, int) else 1 if side == "batch" else size for side in shape]
    return np.full(sizes, "", dtype=object) if dtype == "string" else np.zeros(sizes, dtype=dtype)
