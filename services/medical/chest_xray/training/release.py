"""The released folder of a chest X-ray network: file, card and notice, measured as the file is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from services.medical.chest_xray.roles import ATTENTION, FILM, FRONTAL, LOGITS, OPACITY, OUTPUTS, PARAMETER
from services.medical.chest_xray.training.card_texts import NOTICE
from services.medical.chest_xray.training.cards import (
    Origin,
    describe,
    make_card,
    measured_baselines,
    parity_of,
    quality_of,
    with_refusals,
)
from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.exports import (
    NETWORK_OUTPUTS,
    ServedNetwork,
    differences,
    export_network,
    run_graph,
    run_network,
)
from services.medical.chest_xray.training.figures import (
    Predictions,
    mean_map,
    measure_attention,
    measure_boxes,
    measure_diagnosis,
)
from services.medical.chest_xray.training.screening import ScreeningHead, append_frontal
from services.medical.chest_xray.training.stages.batches import to_films
from services.medical.chest_xray.training.stages.films import FilmFolder
from services.medical.chest_xray.training.stages.run import FinishedRun
from services.training.half_precision import halve_weights
from shared.runtime.cards import Parity
from shared.runtime.models.releases import measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

NAME: Final = "chest-xray-attention"
VERSION: Final = "1.0.0"
MODELS: Final = Path(__file__).parents[2] / "models"
"""Released models of the medical service."""

FIGURES: Final = Path(__file__).parents[1] / "evaluation" / "figures.json"
"""Of the baselines on the same films (`make evaluate-chest-xray`)."""

LARGEST_FILE: Final = 40 * 1024 * 1024
LARGEST_DIFFERENCE: Final = 1e-3
"""Of the graph in single precision to the network, beyond which nothing is released."""
LARGEST_ROUNDED: Final = 0.1
"""Of the file with weights in half precision to the network, likewise."""
_COMPARED: Final = 12
_CHUNK: Final = 8


class ReleaseRefused(Exception):
    """The network lacks an output, its graph does not do what it does, or its file is too large."""


def release(run: FinishedRun, origin: Origin, films: FilmFolder, *, models: Path = MODELS, name: str = NAME) -> Path:
    """Export a run, compare and measure the file, and write it with its card.

    Args:
        run: finished.
        origin: how it came about.
        films: to measure on.
        models: folder of released models.
        name: of the model.

    Returns:
        The released folder.

    Raises:
        ReleaseRefused: the network lacks an output, its graph differs from it, or the file is too large.
    """
    train, test = films.films(origin.recipe, "train"), films.films(origin.recipe, "test")
    screening = ScreeningHead.read()
    content, parity = _export(run, screening, test)
    card = make_card(weights_of(content), run, screening, origin, train, name=name, version=VERSION)
    model = OnnxModel(card, content, threads=1)
    one = to_films(test.arrays[:1]).numpy()
    latency = measure_latency(model, {FILM: one}, what="one prepared film")
    figures, refused = _measure(model, films, origin, test)
    place = describe(test, "test")
    beside = measured_baselines(json.loads(FIGURES.read_text(encoding="utf-8")), len(test))
    card = with_refusals(card, refused, place).model_copy(
        update={"parity": parity, "latency": latency, "quality": quality_of(figures, place, beside)}
    )
    folder = models / card.name / card.version
    write_release(folder, content, card)
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    return folder


def _export(run: FinishedRun, screening: ScreeningHead, test: PreparedFilms) -> tuple[bytes, Parity]:
    """The file, and how closely it follows the network."""
    lacking = set(NETWORK_OUTPUTS) - set(ServedNetwork(run.network, run.calibration).outputs)
    if lacking:
        raise ReleaseRefused(f"the network is an ablation without {', '.join(sorted(lacking))}")
    whole = export_network(run.network, run.calibration)
    content = with_frontal(halve_weights(whole), screening)
    if len(content) > LARGEST_FILE:
        raise ReleaseRefused(f"the file would have {len(content)} bytes, at most {LARGEST_FILE} are released")
    compared = to_films(test.arrays[:_COMPARED]).numpy()
    wanted = run_network(run.network, run.calibration, compared)
    exact, rounded = (differences(run_graph(graph, compared), wanted) for graph in (whole, content))
    if max(exact.values()) > LARGEST_DIFFERENCE or max(rounded.values()) > LARGEST_ROUNDED:
        raise ReleaseRefused(f"the exported graph differs from the trained network: {exact}, in half {rounded}")
    return content, parity_of(exact, rounded, len(compared))


def with_frontal(content: bytes, screening: ScreeningHead) -> bytes:
    """A graph with the output `frontal` more."""
    found: bytes = append_frontal(onnx.load_model_from_string(content), screening).SerializeToString()
    return found


def predict_served(model: OnnxModel, arrays: NDArray[np.uint8]) -> tuple[Predictions, NDArray[np.float32]]:
    """What a released file says of films uint8 (n, H, W), and its logits (n,) of frontal films."""
    starts = range(0, len(arrays), _CHUNK)
    parts = [model.run({FILM: to_films(arrays[start : start + _CHUNK]).numpy()}) for start in starts]
    joined = {name: np.concatenate(of_name) for name, of_name in zip(OUTPUTS, zip(*parts, strict=True), strict=True)}
    return Predictions(joined[LOGITS], None, joined[OPACITY], joined[ATTENTION]), joined[FRONTAL]


def _measure(model: OnnxModel, films: FilmFolder, origin: Origin, test: PreparedFilms) -> tuple[dict[str, Any], float]:
    """Figures of the file on the test part, and the share of its films that are refused."""
    (predicted, frontal), simulated = predict_served(model, test.arrays), films.simulated(origin.recipe, "test")
    shown = predict_served(model, np.asarray(simulated.arrays))[0].attention
    mean = mean_map(films.simulated(origin.recipe, "train"))
    if predicted.attention is None or shown is None:
        raise ReleaseRefused("the file has not all outputs")
    figures = {
        "diagnosis": measure_diagnosis(predicted, test),
        "inserted": {
            "network": measure_attention(shown, simulated),
            "mean map": measure_attention(np.broadcast_to(mean, shown.shape), simulated),
        },
        "boxes": {
            "network": measure_boxes(predicted.attention, test),
            "mean map": measure_boxes(np.broadcast_to(mean, predicted.attention.shape), test),
        },
    }
    stated: Any = model.card.parameters[PARAMETER]
    return figures, float((frontal < stated["frontal_threshold"]).mean())
