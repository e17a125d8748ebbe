"""Writing released folders: what every release command does alike, whatever was trained.

Used by `training/` of capabilities; serving reads cards (`shared.runtime.cards`) and writes none.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from shared.runtime.cards import CARD_FILE, Latency, ModelCard, Parity, Quality, Weights, read_card
from shared.runtime.models.sessions import OnnxModel

MODEL_FILE: Final = "model.onnx"

NOT_MEASURED: Final[Mapping[str, Any]] = {
    "quality": [],
    "parity": Parity(reference="-", max_abs_difference=0.0),
    "latency": Latency(what="-", value_ms=1.0, machine="-", threads=1),
}
"""What stands in a card until its model can be run."""


def weights_of(content: bytes) -> Weights:
    """Name, digest and size of a file to be released."""
    return Weights(file=MODEL_FILE, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def write_release(folder: Path, content: bytes, card: ModelCard) -> None:
    """Write file and card; quality that is known of the very same weights is kept where the card states none."""
    folder.mkdir(parents=True, exist_ok=True)
    quality = card.quality or known_quality(folder, card.weights)
    (folder / MODEL_FILE).write_bytes(content)
    write_card(card.model_copy(update={"quality": quality}), folder)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write the card of a released folder."""
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def known_quality(folder: Path, weights: Weights) -> list[Quality]:
    """What an earlier card says of the very same weights."""
    if not (folder / CARD_FILE).exists():
        return []
    earlier = read_card(folder)
    return earlier.quality if earlier.weights.sha256 == weights.sha256 else []


def measure_latency(
    model: OnnxModel, inputs: Mapping[str, NDArray[Any]], *, what: str, threads: int = 1, repeats: int = 30
) -> Latency:
    """Shortest time of a pass, since others may work on the machine.

    Args:
        model: opened with `threads`.
        inputs: arrays by name.
        what: was timed, in words.
        threads: of the model's session.
        repeats: passes; one more goes before them.
    """
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        model.run(dict(inputs))
        times.append(time.perf_counter() - began)
    machine = f"{platform.machine()} CPU, shared with other work; shortest of {repeats} passes"
    value_ms = max(round(min(times[1:]) * 1000, 3), 0.001)
    return Latency(what=f"{what}, onnxruntime", value_ms=value_ms, machine=machine, threads=threads)
