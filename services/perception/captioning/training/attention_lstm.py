"""Soft attention and an LSTM: Show, Attend and Tell (Xu et al. 2015, arXiv:1502.03044)."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.perception.captioning.training.decoders import Decoded, Decoder, Tensors, counted

MOST_COMPARED: Final = 128
"""Channels in which places are compared with the state: half of a training step's time grew with them."""


class AttentionLstm(Decoder):
    """Additive attention before each step of an LSTM, gated by a sigmoid; deep output with tied embeddings.

    Args:
        words: size of the vocabulary.
        places: channels of a place.
        width: of the LSTM's state and of embeddings.
        dropout: share that is left out in training, of embeddings and before the output.
    """

    CONTEXTS: ClassVar[tuple[str, ...]] = ("places", "keys")
    STATES: ClassVar[tuple[str, ...]] = ("hidden", "cell")

    def __init__(self, *, words: int, places: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.first_hidden, self.first_cell = nn.Linear(places, width), nn.Linear(places, width)
        attention = min(width, MOST_COMPARED)
        self.key, self.query = nn.Linear(places, attention), nn.Linear(width, attention)
        self.energy = nn.Linear(attention, 1)
        self.gate = nn.Linear(width, places)
        self.lstm = nn.LSTMCell(width + places, width)
        self.of_hidden, self.of_place = nn.Linear(width, width), nn.Linear(places, width)
        self.bias = nn.Parameter(torch.zeros(words))
        self.dropout = nn.Dropout(dropout)

    def begin(self, places: Tensor) -> tuple[Tensors, Tensors]:
        """Contexts: places (pictures, places, channels) and their keys; states (pictures, width)."""
        mean = places.mean(dim=1)
        first = torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_cell(mean))
        return (places, self.key(places)), first

    def step(self, words: Tensor, contexts: Tensors, states: Tensors) -> tuple[Tensor, Tensor, Tensors]:
        """One word of each row."""
        embedded = self.dropout(self.embedding(words))
        place, attention, states = self._recur(embedded, contexts, states)
        return self._logits(embedded, states[0], place), attention, states

    def forward(self, places: Tensor, pictures: Tensor, words: Tensor, lengths: Tensor) -> Decoded:
        """All words of whole captions; a step computes only the captions that are not over."""
        contexts, states = self.begin(places)
        contexts, states = _take(contexts, pictures), _take(states, pictures)
        embedded = self.dropout(self.embedding(words))
        hidden: list[Tensor] = []
        seen: list[Tensor] = []
        maps: list[Tensor] = []
        count = len(words)
        for index in range(int(lengths[0])):
            rows = int((lengths > index).sum())
            contexts, states = _first(contexts, rows), _first(states, rows)
            place, attention, states = self._recur(embedded[:rows, index], contexts, states)
            for kept, value in ((hidden, states[0]), (seen, place), (maps, attention)):
                kept.append(functional.pad(value, (0, 0, 0, count - rows)))
        used = counted(lengths)
        before = embedded[:, : len(hidden)]
        logits = self._logits(before[used], torch.stack(hidden, 1)[used], torch.stack(seen, 1)[used])
        return Decoded(logits, torch.stack(maps, 1))

    def _recur(self, embedded: Tensor, contexts: Tensors, states: Tensors) -> tuple[Tensor, Tensor, Tensors]:
        places, keys = contexts
        hidden, cell = states
        energy = self.energy(torch.tanh(keys + self.query(hidden)[:, None])).squeeze(2)
        attention = torch.softmax(energy, dim=1)
        place = torch.bmm(attention[:, None], places).squeeze(1) * torch.sigmoid(self.gate(hidden))
        hidden, cell = self.lstm(torch.cat([embedded, place], dim=1), (hidden, cell))
        return place, attention, (hidden, cell)

    def _logits(self, embedded: Tensor, hidden: Tensor, place: Tensor) -> Tensor:
        output = self.dropout(torch.tanh(embedded + self.of_hidden(hidden) + self.of_place(place)))
        return functional.linear(output, self.embedding.weight, self.bias)


def _take(tensors: Tensors, rows: Tensor) -> Tensors:
    return tuple(tensor[rows] for tensor in tensors)


def _first(tensors: Tensors, rows: int) -> Tensors:
    return tuple(tensor[:rows] for tensor in tensors)
