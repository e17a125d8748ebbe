"""What makes a network: its first encoder, its widths and its heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

FirstEncoder = Literal["densenet", "lite0", "none"]
Logits = Literal["encoder", "fusion"]

DEEPEST_STRIDE: Final = 32
LEVELS: Final = 5
"""Of the second encoder, at strides 1 to 16 of its input."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """A network; the defaults are the published one (paper sheet, section 3), of 66,643,143 parameters.

    Attributes:
        first: first encoder: `densenet`; `lite0`, EfficientNet-Lite0; or `none`, an ablation, in which the decoder
            starts from the second encoder alone.
        growth: channels that a layer of the DenseNet adds.
        blocks: layers of each of its dense blocks.
        initial: channels of its first convolution.
        second: whether there is a second encoder with its decoder; an ablation without has no attention.
        filters: channels of the second encoder at its first level, f; the others have 2f, 4f, 8f and 16f.
        stride: of what the second encoder sees: 1, or 2 for a film that is averaged over 2 x 2 pixels, whose attention
            is computed there and enlarged to all pixels.
        hidden: units of the fusion classifier.
        dropout: share of them that is left out in training.
        classes: of the diagnosis.
        size: height and width of films, multiples of 32 * stride.
        trained_stages: the last of the 7 stages of Lite0 that are trained; the others stay as published.
        opacity: whether there is a head for opacities.
    """

    first: FirstEncoder = "densenet"
    growth: int = 32
    blocks: tuple[int, ...] = (6, 12, 48, 32)
    initial: int = 64
    second: bool = True
    filters: int = 64
    stride: Literal[1, 2] = 1
    hidden: int = 64
    dropout: float = 0.25
    classes: int = 3
    size: tuple[int, int] = (320, 256)
    trained_stages: int = 3
    opacity: bool = False

    def __post_init__(self) -> None:
        step = DEEPEST_STRIDE * (self.stride if self.first == "none" else 1)
        if any(side < step or side % step for side in self.size):
            raise ValueError(f"size is {self.size}, both sides are multiples of {step}")
        if self.first == "none" and not self.second:
            raise ValueError("a network has a first encoder, a second one or both")
        if self.first == "densenet" and len(self.blocks) != LEVELS - 1:
            raise ValueError(f"a DenseNet has four dense blocks, not {self.blocks}")
        if not 0 < self.trained_stages < 7:
            raise ValueError(f"trained_stages is {self.trained_stages}, from 1 to 6")


def options_of(stated: dict[str, Any]) -> NetworkOptions:
    """Options out of what `asdict` made of them; lists become tuples."""
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in stated.items()}
    return NetworkOptions(**values)
