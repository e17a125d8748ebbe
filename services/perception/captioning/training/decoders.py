"""What both decoders have in common: places of a picture in, one word after the other out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

Tensors = tuple[Tensor, ...]


class Decoded(NamedTuple):
    """Of whole captions.

    Attributes:
        logits: (words that count, vocabulary), caption after caption; nothing is computed of what is filled up.
        attention: (captions, words, places); each row sums to 1, or to 0 behind the end of a caption.
    """

    logits: Tensor
    attention: Tensor


class Decoder(nn.Module, ABC):
    """Writes captions of places (pictures, places, channels)."""

    CONTEXTS: ClassVar[tuple[str, ...]]
    """Names of what stays the same in all steps."""

    STATES: ClassVar[tuple[str, ...]]
    """Names of what each step changes."""

    GROWING: ClassVar[tuple[str, ...]] = ()
    """States whose third axis is the number of words so far."""

    @abstractmethod
    def begin(self, places: Tensor) -> tuple[Tensors, Tensors]:
        """Contexts and first states of pictures; the first axis of each is theirs."""

    @abstractmethod
    def step(self, words: Tensor, contexts: Tensors, states: Tensors) -> tuple[Tensor, Tensor, Tensors]:
        """Logits (rows, vocabulary), attention (rows, places) and states after words int64 (rows,)."""

    @abstractmethod
    def forward(self, places: Tensor, pictures: Tensor, words: Tensor, lengths: Tensor) -> Decoded:
        """Next words of whole captions, each computed from the true words before it.

        Args:
            places: (pictures, places, channels).
            pictures: int64 (captions,), which picture each caption is of.
            words: int64 (captions, words), the first is `START`.
            lengths: int64 (captions,), descending: how many of the words count.
        """


def counted(lengths: Tensor) -> Tensor:
    """Which words of captions count: bool (captions, longest), true where one does."""
    found: Tensor = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return found


class GridEmbedding(nn.Module):
    """Places of a picture out of its two maps: those of the coarse map are laid over the fine one.

    Args:
        channels: of the fine map and of the coarse one.
        width: channels of a place.
        dropout: share of channels that are left out in training.
    """

    def __init__(self, channels: tuple[int, int], width: int, dropout: float) -> None:
        super().__init__()
        self.fine, self.coarse = (nn.Conv2d(count, width, 1) for count in channels)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Places (batch, height * width, channels) of maps (batch, channels, height, width)."""
        above = self.coarse(coarse)[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).flatten(2, 3).flatten(3, 4)
        places = torch.relu(self.fine(fine) + above).flatten(2).transpose(1, 2)
        found: Tensor = self.dropout(self.norm(places))
        return found
