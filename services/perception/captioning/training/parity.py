"""Exported graphs beside the trained network, by the very code that serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.captioners import Captioner as ServedCaptioner
from services.perception.captioning.decoding import DecodedCaption, SearchOptions, search_greedily
from services.perception.captioning.roles import DecoderRole
from services.perception.captioning.training.exports import PICTURES
from services.perception.captioning.training.features import CUT
from services.perception.captioning.training.networks import Captioner, TorchSteps
from shared.runtime.cards import Parity

_COUNT: Final = 16
_SQUARES: Final = 8
"""In a row of a random picture."""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was found on random pictures.

    Attributes:
        captions: how many pictures were captioned greedily.
        same: how many captions have the same words.
        encoder: largest absolute difference of any of its outputs.
        decoder: largest absolute difference of any of its outputs in any step of the network's captions.
    """

    captions: int
    same: int
    encoder: float
    decoder: float

    def of_encoder(self) -> Parity:
        """For its card."""
        return Parity(reference=f"{self._reference()}, all outputs", max_abs_difference=self.encoder)

    def of_decoder(self) -> Parity:
        """For its card."""
        said = f"all words of greedy captions, of which {self.same} of {self.captions} are equal"
        return Parity(reference=f"{self._reference()}, {said}", max_abs_difference=self.decoder)

    def _reference(self) -> str:
        return f"torch {torch.__version__}, {self.captions} random pictures, the graph with weights in single precision"


def mosaics(count: int, sides: tuple[int, int]) -> NDArray[np.float32]:
    """Pictures of squares of random colours, which differ more from each other than noise: (count, 3, *sides)."""
    colours = np.random.default_rng(0).random((count, 3, _SQUARES, _SQUARES), dtype=np.float32)
    rows, columns = (np.arange(side) * _SQUARES // side for side in sides)
    return np.ascontiguousarray(colours[:, :, rows][:, :, :, columns])


@torch.no_grad()
def compare(served: ServedCaptioner, trained: Captioner, backbone: EfficientNetLite, *, side: int) -> ParityReport:
    """Both on random pictures: what the encoder answers, each step of greedy captions, and the captions.

    Args:
        served: of the exported graphs.
        trained: the network.
        backbone: published; a tail of the network replaces its last stages.
        side: height and width of pictures.
    """
    pictures = mosaics(_COUNT, (side, side))
    trunk, tail = backbone.eval().split(CUT)
    fine = trunk(torch.from_numpy(pictures))
    steps = TorchSteps(trained)
    states, contexts = steps.begin(fine, tail(fine))
    encoded = served.named(served.encoder.run({PICTURES: pictures}))
    names = (*served.wiring.contexts, *served.wiring.states)
    encoder = max(_difference(one, encoded[name]) for one, name in zip((*contexts, *states), names, strict=True))
    options = SearchOptions(length_power=served.role.length_power)
    captions = search_greedily(steps, states, contexts, options)
    found = [best[0].words for best in served.search(encoded, beams=1, most_words=options.maximum)]
    decoder = 0.0
    for words in _forced(captions, served.role).T:
        expected, answered = steps(words, states, contexts), served.step(words, states, contexts)
        pairs = zip((*expected[:2], *expected.states), (*answered[:2], *answered.states), strict=True)
        decoder = max(decoder, *(_difference(one, other) for one, other in pairs))
        states = expected.states
    same = sum(one.words == words for one, words in zip(captions, found, strict=True))
    return ParityReport(_COUNT, same, encoder, decoder)


def _forced(captions: list[DecodedCaption], role: DecoderRole) -> NDArray[np.int64]:
    """Inputs of all steps of captions, (captions, words), with ends behind the shorter ones."""
    forced = np.full((len(captions), max(len(caption.words) for caption in captions) + 1), role.end, np.int64)
    forced[:, 0] = role.start
    for row, caption in zip(forced, captions, strict=True):
        row[1 : len(caption.words) + 1] = caption.words
    return forced


def _difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
