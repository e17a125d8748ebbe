"""The two domain classifiers of ACIA, behind gradient reversal: of whole images, and of objects given their class.

Both follow the paper's intention where its released code does otherwise (fact sheet, sections 3 and 4): the image-level
one has an output for each domain and is trained by cross-entropy at each location, and rows of values, queries and
class keys belong to the same object. The second goes beyond the paper where classes are not equally frequent in the
sources (`AlignmentOptions.balanced`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.perception.detection.optimisation.gradient_reversal import reverse_gradient


@dataclass(frozen=True, slots=True)
class AlignmentOptions:
    """Shapes of the domain classifiers.

    Attributes:
        level: which map of the pyramid the image-level classifier looks at; 1 is stride 16 of 8, 16, 32. The paper's
            only map has stride 32, of images three times as large.
        image_widths: channels of its hidden convolutions; the paper's are 256, 128, 128, behind maps of 512 channels.
        width: of queries, keys and values; the paper's is 512, behind vectors of 1024.
        heads: of the attention.
        hidden: widths of the two hidden layers behind it; the paper's are 256 and 128.
        dropout: of queries, values and hidden layers.
        conditioned: whether keys are embeddings of classes; without, the classifier is agnostic of classes and attends
            by the features alone.
        balanced: whether a class counts the same however frequent it is, in the attention and in the loss, and only
            where two sources hold it in a step. Without, as in the paper, sources are known by how frequent classes are
            in them, and features become alike by unlearning classes that one of them hardly has.
    """

    level: int = 1
    image_widths: tuple[int, int, int] = (64, 32, 32)
    width: int = 128
    heads: int = 4
    hidden: tuple[int, int] = (64, 32)
    dropout: float = 0.3
    conditioned: bool = True
    balanced: bool = True


class ImageDiscriminator(nn.Module):
    """Says of each place of a feature map which domain it is from (section 3).

    Args:
        channels: of the map.
        domains: sources, and the target.
        options: widths.
    """

    def __init__(self, channels: int, domains: int, options: AlignmentOptions) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((channels, *options.image_widths), options.image_widths, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(options.image_widths[-1], domains, 3, padding=1))

    def loss(self, features: Tensor, domains: Tensor, *, reversal: float) -> Tensor:
        """Cross-entropy, mean over places and images.

        Args:
            features: a map, float32 (batch, channels, height, width).
            domains: int64 (batch,), the number of each image's domain.
            reversal: factor of the gradient that reaches the features.
        """
        logits = self.layers(reverse_gradient(features, reversal))
        wanted = domains[:, None, None].expand(-1, *logits.shape[2:])
        return functional.cross_entropy(logits, wanted)


class InstanceDiscriminator(nn.Module):
    """Says of each object which source it is from, by attention over objects of the same class (section 4).

    The objects of one source are one sequence. Queries and values are of their features, keys of their classes: so each
    object gathers the values of those whose class answers its query.

    Args:
        width: of the features.
        classes: without the background.
        sources: labelled domains.
        options: shapes.
    """

    def __init__(self, width: int, classes: int, sources: int, options: AlignmentOptions) -> None:
        super().__init__()
        self.options, self._balanced = options, options.conditioned and options.balanced
        self.queries, self.values = nn.Linear(width, options.width), nn.Linear(width, options.width)
        self.keys = nn.Embedding(classes, options.width)
        self.dropout = nn.Dropout(options.dropout)
        self.attention = nn.MultiheadAttention(options.width, options.heads, batch_first=True)
        first, second = options.hidden
        self.layers = nn.Sequential(
            nn.LayerNorm(options.width),
            nn.Linear(options.width, first),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(first, second),
            nn.Dropout(options.dropout),
            nn.LayerNorm(second),
            nn.Linear(second, sources),
        )

    def loss(self, features: Tensor, labels: Sequence[Tensor], *, reversal: float) -> Tensor:
        """Cross-entropy of the source; 0 where there is nothing to tell apart.

        Mean over sources and, where balanced, their classes of the mean over their objects.

        Args:
            features: float32 (objects, width), source after source.
            labels: of each source int64 (its objects,), row i of the i-th of its features.
            reversal: factor of the gradient that reaches the features; keys are not reversed.

        Raises:
            ValueError: there are not as many labels as features.
        """
        counts = [len(one) for one in labels]
        if sum(counts) != len(features):
            raise ValueError(f"{len(features)} features and {sum(counts)} labels")
        counted = _shared(labels) if self._balanced else [torch.ones_like(own, dtype=torch.bool) for own in labels]
        terms: list[Tensor] = []
        for source, (rows, own, kept) in enumerate(zip(torch.split(features, counts), labels, counted, strict=True)):
            terms += self._losses(rows[kept], own[kept], source, reversal=reversal)
        return torch.stack(terms).mean() if terms else features.sum() * 0

    def _losses(self, features: Tensor, labels: Tensor, source: int, *, reversal: float) -> list[Tensor]:
        """Of the objects of a source: the mean of each class where they are balanced, else of all."""
        if not len(labels):
            return []
        logits = self(features, labels, reversal=reversal)
        each = functional.cross_entropy(logits, torch.full_like(labels, source), reduction="none")
        return [each[labels == one].mean() for one in torch.unique(labels)] if self._balanced else [each.mean()]

    def forward(self, features: Tensor, labels: Tensor, *, reversal: float = 1.0) -> Tensor:
        """Logits (objects, sources) of the objects of one source."""
        found: Tensor = self.layers(self.attend(features, labels, reversal=reversal)[0])
        return found

    def attend(self, features: Tensor, labels: Tensor, *, reversal: float = 1.0) -> tuple[Tensor, Tensor]:
        """What each object gathers (objects, width), and its attention to all of them (objects, objects)."""
        features = reverse_gradient(features, reversal)
        queries = self.dropout(self.queries(features))
        values = self.dropout(self.values(features))
        keys = self.keys(labels) if self.options.conditioned else self.values(features)
        bias = -labels.bincount()[labels].log().expand(len(labels), -1) if self._balanced else None
        gathered, weights = self.attention(queries[None], keys[None], values[None], attn_mask=bias)
        return gathered[0], weights[0]


def _shared(labels: Sequence[Tensor]) -> list[Tensor]:
    """Of each source which of its objects are of a class that another one holds, too: bool (its objects,)."""
    held = torch.cat([torch.unique(own) for own in labels]).bincount()
    return [held[own] > 1 for own in labels]
