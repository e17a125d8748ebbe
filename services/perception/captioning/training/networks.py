"""A captioner: the last stages of a backbone, its places, a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.perception.captioning.decoding import Arrays, Step
from services.perception.captioning.training.attention_lstm import AttentionLstm
from services.perception.captioning.training.decoders import Decoded, Decoder, GridEmbedding
from services.perception.captioning.training.transformer import TransformerDecoder

DECODERS: Final[Mapping[str, Callable[..., Decoder]]] = {"lstm": AttentionLstm, "transformer": TransformerDecoder}
"""By name: what makes one, untrained."""


class Captioner(nn.Module):
    """Captions of the features of photographs.

    Args:
        decoder: its name in `DECODERS`.
        words: size of the vocabulary.
        channels: of the fine map and of the coarse one.
        width: of places and of the decoder.
        dropout: share that is left out in training.
        tail: from the fine map to the coarse one, where it is trained too; else the coarse map is given.
    """

    def __init__(
        self,
        decoder: str,
        *,
        words: int,
        channels: tuple[int, int],
        width: int,
        dropout: float,
        tail: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.tail = tail
        self.grid = GridEmbedding(channels, width, dropout)
        self.decoder = DECODERS[decoder](words=words, places=width, width=width, dropout=dropout)

    def places(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Places (pictures, places, channels); a tail computes the coarse map anew."""
        found: Tensor = self.grid(fine, coarse if self.tail is None else self.tail(fine))
        return found

    def forward(self, maps: tuple[Tensor, Tensor], pictures: Tensor, words: Tensor, lengths: Tensor) -> Decoded:
        """Next words of whole captions, as `Decoder.forward`."""
        found: Decoded = self.decoder(self.places(*maps), pictures, words, lengths)
        return found

    def train(self, mode: bool = True) -> Captioner:
        """Training mode, in which batch normalisation of the tail stays as published: batches are small."""
        super().train(mode)
        if self.tail is not None:
            self.tail.eval()
        return self


class TorchSteps:
    """A captioner in evaluation mode as the function that `decoding` searches with."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner.eval()

    @torch.no_grad()
    def begin(self, fine: Tensor, coarse: Tensor) -> tuple[Arrays, Arrays]:
        """First states and contexts of maps."""
        contexts, states = self._captioner.decoder.begin(self._captioner.places(fine, coarse))
        return _arrays(states), _arrays(contexts)

    @torch.no_grad()
    def __call__(self, words: NDArray[np.int64], states: Arrays, contexts: Arrays) -> Step:
        """One step of all rows."""
        tensors = tuple(map(torch.from_numpy, contexts)), tuple(map(torch.from_numpy, states))
        logits, attention, after = self._captioner.decoder.step(torch.from_numpy(words), *tensors)
        return Step(torch.log_softmax(logits, dim=1).numpy(), attention.numpy(), _arrays(after))


def _arrays(tensors: tuple[Tensor, ...]) -> Arrays:
    return tuple(tensor.numpy() for tensor in tensors)
