"""A Transformer decoder (Vaswani et al. 2017, normalisation first) over the places of a picture."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.perception.captioning.training.decoders import Decoded, Decoder, Tensors, counted

MOST_WORDS = 64
"""Positions that have an embedding."""


class Attention(nn.Module):
    """Scaled dot products of several heads that also says where it looked.

    Args:
        width: channels in and out.
        heads: divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Answers (rows, queries, width), and weights (rows, queries, keys) as the mean of heads.

        Args:
            queries: (rows, queries, width), before their projection.
            keys: (rows, keys, width), projected.
            values: (rows, keys, width), projected.
            mask: bool (queries, keys), true where a query may not look.
        """
        q, k, v = self._split(self.query(queries)), self._split(keys), self._split(values)
        products = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if mask is not None:
            products = products.masked_fill(mask, -1e9)
        weights = torch.softmax(products, dim=3)
        found = (weights @ v).transpose(1, 2).flatten(2)
        return self.output(found), weights.mean(dim=1)

    def _split(self, channels: Tensor) -> Tensor:
        split: Tensor = channels.unflatten(2, (self.heads, -1))  # type: ignore[no-untyped-call]
        return split.transpose(1, 2)


class Layer(nn.Module):
    """Attention to the words before, attention to places, two linear layers."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.words, self.places = Attention(width, heads), Attention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.between = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Tensors, places: Tensors, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensors]:
        """Answers (rows, words, width), attention to places (rows, words, places), and keys and values of all words.

        Args:
            x: new words.
            past: keys and values of the words before (rows, words, width); may be empty.
            places: keys and values (rows, places, width).
            mask: bool (new words, all words).
        """
        normed = self.norms[0](x)
        keys = torch.cat([past[0], self.words.key(normed)], dim=1)
        values = torch.cat([past[1], self.words.value(normed)], dim=1)
        x = x + self.dropout(self.words(normed, keys, values, mask)[0])
        found, attention = self.places(self.norms[1](x), *places, None)
        x = x + self.dropout(found)
        return x + self.dropout(self.between(self.norms[2](x))), attention, (keys, values)


class TransformerDecoder(Decoder):
    """Layers over learned positions; the attention of a word is that of the last layer, the mean of its heads.

    Args:
        words: size of the vocabulary.
        places: channels of a place.
        width: channels of a word.
        dropout: share that is left out in training.
        layers: how many.
        heads: divide the width.
    """

    CONTEXTS: ClassVar[tuple[str, ...]] = ("place_keys", "place_values")
    STATES: ClassVar[tuple[str, ...]] = ("position", "word_keys", "word_values")
    GROWING: ClassVar[tuple[str, ...]] = ("word_keys", "word_values")

    def __init__(self, *, words: int, places: int, width: int, dropout: float, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(words, width), nn.Embedding(MOST_WORDS, width)
        for one in (self.embedding, self.position):
            nn.init.normal_(one.weight, std=width**-0.5)
        self.places = nn.Linear(places, width)
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(words))

    def begin(self, places: Tensor) -> tuple[Tensors, Tensors]:
        """Contexts: keys and values (pictures, layers, places, width); states: those of no words, and position 0."""
        seen = self.places(places)
        keys = torch.stack([layer.places.key(seen) for layer in self._layers()], dim=1)
        values = torch.stack([layer.places.value(seen) for layer in self._layers()], dim=1)
        position = torch.zeros_like(places[:, 0, 0], dtype=torch.int64)
        return (keys, values), (position, keys[:, :, :0], values[:, :, :0])

    def step(self, words: Tensor, contexts: Tensors, states: Tensors) -> tuple[Tensor, Tensor, Tensors]:
        """One word of each row."""
        position, *past = states
        x = self._embed(words[:, None], position[:, None])
        found, attention, known = self._decode(x, (past[0], past[1]), contexts, None)
        return self._logits(found[:, 0]), attention[:, 0], (position + 1, *known)

    def forward(self, places: Tensor, pictures: Tensor, words: Tensor, lengths: Tensor) -> Decoded:
        """All words of whole captions at once."""
        contexts, states = self.begin(places)
        contexts = tuple(tensor[pictures] for tensor in contexts)
        words = words[:, : int(lengths[0])]
        x = self._embed(words, torch.arange(words.shape[1])[None])
        past = tuple(tensor[pictures] for tensor in states[1:])
        mask = torch.ones(words.shape[1], words.shape[1], dtype=torch.bool).triu(1)
        found, attention, _ = self._decode(x, past, contexts, mask)
        return Decoded(self._logits(found[counted(lengths)]), attention)

    def _embed(self, words: Tensor, positions: Tensor) -> Tensor:
        scale = self.embedding.embedding_dim**0.5
        return cast("Tensor", self.dropout((self.embedding(words) + self.position(positions)) * scale))

    def _decode(
        self, x: Tensor, past: Tensors, contexts: Tensors, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensors]:
        attention, keys, values = x, [], []
        for index, layer in enumerate(self._layers()):
            before, places = (tuple(one[:, index] for one in pair) for pair in (past, contexts))
            x, attention, known = layer(x, before, places, mask)
            keys.append(known[0])
            values.append(known[1])
        return x, attention, (torch.stack(keys, dim=1), torch.stack(values, dim=1))

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(self.norm(x), self.embedding.weight, self.bias)

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]
