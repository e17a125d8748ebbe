"""The network with both encoders and all heads: films to diagnosis, attention and what both rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.medical.chest_xray.training.networks.decoder import Decoder, attention_head
from services.medical.chest_xray.training.networks.dense_encoder import DenseEncoder
from services.medical.chest_xray.training.networks.lite_encoder import LiteEncoder
from services.medical.chest_xray.training.networks.maps import EncoderMaps
from services.medical.chest_xray.training.networks.options import LEVELS, Logits, NetworkOptions
from services.medical.chest_xray.training.networks.residual_encoder import ResidualEncoder


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network says of n films; what its options leave out is None.

    Attributes:
        features: (n, k, h, w), the map of the first encoder whose means are classified.
        embedding: (n, k), these means.
        pooled: (n, k + f), the embedding and the means of the decoder's finest map.
        encoder_logits: (n, classes), of the first encoder's own classifier.
        logits: (n, classes), of the fusion classifier; the encoder's where there is no second encoder.
        attention_logits: (n, H, W), whose soft-max over all pixels is the attention.
        opacity: (n,), a logit.
    """

    features: Tensor
    embedding: Tensor
    pooled: Tensor
    encoder_logits: Tensor
    logits: Tensor
    attention_logits: Tensor | None
    opacity: Tensor | None


class FusionClassifier(nn.Module):
    """Linear, dropout, rectifier, linear, in the order of the authors' code; their figure has the rectifier first."""

    def __init__(self, inputs: int, options: NetworkOptions) -> None:
        super().__init__()
        self.hidden, self.dropout = nn.Linear(inputs, options.hidden), nn.Dropout(options.dropout)
        self.output = nn.Linear(options.hidden, options.classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """(n, inputs) to logits (n, classes)."""
        found: Tensor = self.output(functional.relu(self.dropout(self.hidden(pooled))))
        return found

    def gradient(self, pooled: Tensor) -> Tensor:
        """(n, classes, inputs): derivatives of the logits with respect to what is pooled, without dropout."""
        active = (self.hidden(pooled) > 0).to(pooled.dtype)
        found: Tensor = (self.output.weight[None] * active[:, None]) @ self.hidden.weight
        return found


class ChestXrayNetwork(nn.Module):
    """See the module; random by torch's global generator where no weights are given.

    Args:
        options: what it is made of.
        weights: the published state of EfficientNet-Lite0, for that first encoder.

    Attributes:
        lower_precision: whether second encoder, decoder and attention head compute in bfloat16 where the decoder is in
            training mode; weights stay in single precision.
    """

    lower_precision: bool = False

    def __init__(self, options: NetworkOptions, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.options = options
        self.first = _first_encoder(options, weights)
        levels = LEVELS if options.stride == 1 else LEVELS - 1
        self.second = ResidualEncoder(options.filters, levels) if options.second else None
        deepest = options.filters << (levels - 1)
        coarse = deepest if self.first is None else self.first.coarse_channels
        features = deepest if self.first is None else self.first.feature_channels
        self.decoder = None if self.second is None else Decoder(coarse, self.second.widths)
        self.attention = attention_head(options.filters) if options.second else None
        self.classifier = nn.Linear(features, options.classes)
        pooled = features + (options.filters if options.second else 0)
        self.fusion = FusionClassifier(pooled, options) if options.second else None
        self.opacity = nn.Linear(pooled, 1) if options.opacity else None

    def forward(self, films: Tensor) -> Answer:
        """Films (n, 1, H, W) in [0, 1] to all answers."""
        with self._precision():
            skips = [] if self.second is None else self.second(self._seen_by_second(films))
        maps = self._first_maps(films, skips)
        embedding = maps.features.mean(dim=(2, 3))
        encoder_logits = self.classifier(embedding)
        pooled, attention, logits = embedding, None, encoder_logits
        if self.decoder is not None and self.attention is not None and self.fusion is not None:
            with self._precision():
                finest = self.decoder(maps.coarse, skips)[-1]
                attended = self.attention(finest)
            attention = self._enlarge(attended.float())
            pooled = torch.cat((embedding, finest.float().mean(dim=(2, 3))), dim=1)
            logits = self.diagnose(pooled)
        opacity = None if self.opacity is None else self.opacity(pooled)[:, 0]
        return Answer(maps.features, embedding, pooled, encoder_logits, logits, attention, opacity)

    def encode(self, films: Tensor) -> EncoderMaps:
        """The maps of the first encoder alone; of the second where there is no first."""
        if self.first is not None:
            maps: EncoderMaps = self.first(films)
            return maps
        if self.second is None:
            raise ValueError("this network has no encoder")
        return self._first_maps(films, self.second(self._seen_by_second(films)))

    def diagnose(self, pooled: Tensor) -> Tensor:
        """Logits (n, classes) of `pooled` features."""
        found: Tensor = (self.classifier if self.fusion is None else self.fusion)(pooled)
        return found

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.classifier.weight.device

    def encoder_parts(self) -> list[nn.Module]:
        """The modules behind `encode`."""
        return [part for part in (self.first or self.second,) if part is not None]

    def logit_gradient(self, pooled: Tensor, head: Logits = "fusion") -> Tensor:
        """(n, classes, k): derivatives of the logits with respect to the embedding, `pooled[:, :k]`, in closed form."""
        features = self.classifier.in_features
        if self.fusion is None or head == "encoder":
            return self.classifier.weight[None].expand(len(pooled), -1, -1)
        return self.fusion.gradient(pooled)[:, :, :features]

    def _seen_by_second(self, films: Tensor) -> Tensor:
        return films if self.options.stride == 1 else functional.avg_pool2d(films, self.options.stride)

    def _precision(self) -> torch.autocast:
        lower = self.lower_precision and self.decoder is not None and self.decoder.training
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=lower)

    def _first_maps(self, films: Tensor, skips: list[Tensor]) -> EncoderMaps:
        if self.first is not None:
            return self.encode(films)
        coarse = functional.max_pool2d(skips[-1].float(), 2)
        return EncoderMaps(coarse, coarse)

    def _enlarge(self, logits: Tensor) -> Tensor:
        if self.options.stride > 1:
            logits = functional.interpolate(logits, size=self.options.size, mode="bilinear", align_corners=False)
        return logits[:, 0]


def _first_encoder(options: NetworkOptions, weights: Mapping[str, Tensor] | None) -> DenseEncoder | LiteEncoder | None:
    if options.first == "none":
        return None
    return DenseEncoder(options) if options.first == "densenet" else LiteEncoder(options, weights)
