"""How a classifier takes pictures: by the shape of its input, and by what its card or its owner states.

Inputs may be (batch, channels, height, width), (batch, height, width, channels), (batch, height, width) or
(batch, features), in which case rows of pixels follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from shared.imaging.preprocessing import Preprocessing

Layout = Literal["channels_first", "channels_last", "rows"]

_CHANNELS: Final = (1, 3)
_LUMINANCE: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as Pillow makes pictures grey."""

_BATCH_ELEMENTS: Final = 2_500_000
_LARGEST_BATCH: Final = 128
_DTYPES: Final = frozenset({"float32", "float64", "float16", "uint8"})


class UnusableClassifier(ValueError):
    """A model that no campaign can be run on; the message says why, for its owner."""


class PictureParameters(BaseModel):
    """What has to be known of a classifier beside its graph; names and meanings are those of model cards."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=False)

    size: tuple[int, int] | None = Field(
        default=None, description="Height and width, where the graph takes any, or takes rows of numbers"
    )
    channels: Literal[1, 3] | None = Field(default=None, description="3: RGB, 1: grey; of rows of numbers")
    range: tuple[float, float] | None = Field(default=None, description="What black and white are")
    mean: tuple[float, ...] | None = Field(default=None, description="Subtracted, in a range of [0, 1]")
    std: tuple[float, ...] | None = Field(default=None, description="Divided by, after `mean`")
    classes: list[str] | None = Field(default=None, description="Names of the classes, in the order of the scores")
    preprocessing: Preprocessing = Field(
        default=Preprocessing(), description="Which part of a picture is seen, and how it is scaled"
    )


@dataclass(frozen=True, slots=True)
class PictureInput:
    """An input that takes pictures.

    Attributes:
        layout: order of the axes behind the batch.
        channels: 1 (grey) or 3 (RGB).
        height: rows.
        width: columns.
        has_channel_axis: whether a grey picture has an axis for its one channel.
        dtype: of the elements.
        batch: rows of a run that the graph fixes; None if it takes any number.
        scale: factor of pixels in [0, 1], float32 (channels, 1, 1).
        shift: added after.
        preprocessing: which part of a picture it sees, and how that is scaled.
    """

    layout: Layout
    channels: int
    height: int
    width: int
    has_channel_axis: bool
    dtype: np.dtype[Any]
    batch: int | None
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    preprocessing: Preprocessing

    @property
    def elements(self) -> int:
        """Numbers of one picture."""
        return self.channels * self.height * self.width

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture, as the graph takes it."""
        if self.layout == "rows":
            return (self.elements,)
        if not self.has_channel_axis:
            return (self.height, self.width)
        if self.layout == "channels_last":
            return (self.height, self.width, self.channels)
        return (self.channels, self.height, self.width)

    @property
    def batch_size(self) -> int:
        """Pictures of one run: as the graph fixes it, or as many as are quick without taking much memory."""
        return self.batch or max(1, min(_LARGEST_BATCH, _BATCH_ELEMENTS // self.elements))

    def read(self, data: bytes, *, pixel_limit: int, pointer: str) -> NDArray[Any]:
        """Decode, scale and normalise a picture.

        Args:
            data: PNG, JPEG or WebP of any size.
            pixel_limit: most pixels of it.
            pointer: the field to blame.

        Returns:
            Array of `shape` and `dtype`.

        Raises:
            UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
        """
        sides = {"height": self.height, "width": self.width}
        planes = self.preprocessing.read(data, **sides, pixel_limit=pixel_limit, pointer=pointer)
        if self.channels == 1:
            planes = np.tensordot(_LUMINANCE, planes, axes=1)[None]
        planes = planes * self.scale + self.shift
        if self.dtype.kind == "u":
            planes = np.rint(planes).clip(0, 255)
        if self.layout == "channels_last" and self.has_channel_axis:
            planes = planes.transpose(1, 2, 0)
        return np.ascontiguousarray(planes).reshape(self.shape).astype(self.dtype)


def picture_input(dtype: str, shape: Sequence[int | str | None], parameters: PictureParameters) -> PictureInput:
    """The input of a classifier.

    Args:
        dtype: as NumPy calls it.
        shape: as the graph states it; names and None stand for any size.
        parameters: what is known beside.

    Raises:
        UnusableClassifier: it takes no pictures, or not enough is known.
    """
    if dtype not in _DTYPES:
        raise UnusableClassifier(f"its input is {dtype}; pictures are given as {', '.join(sorted(_DTYPES))}")
    layout, channels, height, width, has_axis = _axes(shape, parameters)
    scale, shift = _affine(parameters, channels, white=255.0 if dtype == "uint8" else 1.0)
    first = shape[0]
    return PictureInput(
        layout=layout,
        channels=channels,
        height=height,
        width=width,
        has_channel_axis=has_axis,
        dtype=np.dtype(dtype),
        batch=first if isinstance(first, int) and first > 0 else None,
        scale=scale,
        shift=shift,
        preprocessing=parameters.preprocessing,
    )


def _axes(shape: Sequence[int | str | None], stated: PictureParameters) -> tuple[Layout, int, int, int, bool]:
    match list(shape):
        case [_, int(channels), height, width] if channels in _CHANNELS:
            return "channels_first", channels, *_sides(height, width, stated), True
        case [_, height, width, int(channels)] if channels in _CHANNELS:
            return "channels_last", channels, *_sides(height, width, stated), True
        case [_, channels, height, width] if not isinstance(channels, int) and stated.channels is not None:
            return "channels_first", stated.channels, *_sides(height, width, stated), True
        case [_, height, width]:
            return "channels_first", 1, *_sides(height, width, stated), False
        case [_, features]:
            return _rows(features, stated)
    raise UnusableClassifier(
        f"its input has the shape {_written(shape)}; pictures are [batch, 3, height, width] (or 1 channel, or channels "
        "last), [batch, height, width] or [batch, features]"
    )


def _sides(height: int | str | None, width: int | str | None, stated: PictureParameters) -> tuple[int, int]:
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    if stated.size is None:
        raise UnusableClassifier("it takes any height and width: state `size` in its parameters, such as [224, 224]")
    return _positive(stated.size)


def _rows(features: int | str | None, stated: PictureParameters) -> tuple[Layout, int, int, int, bool]:
    if stated.size is not None:
        height, width = _positive(stated.size)
        channels = stated.channels or (features // (height * width) if isinstance(features, int) else 1)
    elif isinstance(features, int):
        channels = stated.channels or (1 if _is_square(features) else 3)
        height = width = math.isqrt(features // channels)
    else:
        raise UnusableClassifier("it takes rows of any length: state `size` and `channels` in its parameters")
    if channels not in _CHANNELS or (isinstance(features, int) and channels * height * width != features):
        raise UnusableClassifier(
            f"it takes rows of {features} numbers, and no picture has so many: state `size` and `channels` in its "
            "parameters"
        )
    return "rows", channels, height, width, False


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number


def _positive(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 1 or max(size) > 4096:
        raise UnusableClassifier("`size` in its parameters is height and width, 1 to 4096 pixels")
    return size


def _affine(
    stated: PictureParameters, channels: int, *, white: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and summand that take [0, 1] to what the network wants."""
    if stated.mean is not None or stated.std is not None:
        low, high = 0.0, 1.0  # a stated range is that of what mean and std make
    else:
        low, high = stated.range or (0.0, white)
    mean, std = (
        _per_channel("mean", stated.mean or (0.0,), channels),
        _per_channel("std", stated.std or (1.0,), channels),
    )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and std.all() and math.isfinite(low + high)):
        raise UnusableClassifier("`range`, `mean` or `std` in its parameters is not finite, or `std` has a zero")
    return ((high - low) / std).astype(np.float32), ((low - mean) / std).astype(np.float32)


def _per_channel(name: str, values: Sequence[float], channels: int) -> NDArray[np.float64]:
    if len(values) not in {1, channels}:
        raise UnusableClassifier(f"`{name}` in its parameters has {len(values)} numbers for {channels} channels")
    return np.broadcast_to(np.array(values, np.float64).reshape(-1, 1, 1), (channels, 1, 1))


def _written(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("any" if side is None else str(side) for side in shape) + "]"


def card_parameters(parameters: Mapping[str, Any], stated_range: tuple[float, float] | None) -> PictureParameters:
    """What a card says, whose input states its range.

    Raises:
        pydantic.ValidationError: it says something that is not known.
    """
    known = {name: value for name, value in parameters.items() if value is not None}
    if stated_range is not None and "range" not in known:
        known["range"] = stated_range
    return PictureParameters.model_validate(known)
