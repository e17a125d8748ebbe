"""How a network wants pictures cut and scaled, as data: `parameters.preprocessing` of a card.

Without it the whole picture is scaled, its sides apart, as `shared.imaging.colour.resize` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from shared.imaging.colour import Pictures, read_pixels, resize

PARAMETER: Final = "preprocessing"

_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

Box = tuple[float, float, float, float]


class Preprocessing(BaseModel):
    """Which part of a picture a network sees, and how it is scaled to its height and width."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: Literal["whole", "centre"] = Field(
        default="whole",
        description="The whole picture, whose sides are scaled apart; or the largest region in its middle that has "
        "the shape of the network's input",
    )
    share: float = Field(default=1.0, gt=0, le=1, description="Of the sides of that region, what is seen")
    filter: Literal["area", "bilinear", "bicubic"] = Field(
        default="area",
        description="bilinear and bicubic (a = -0.5) grow with the factor by which a picture shrinks, so that every "
        "pixel counts; area is bilinear up to a factor of two and the mean over areas beyond",
    )

    def read(self, data: bytes, *, height: int, width: int, pixel_limit: int, pointer: str) -> Pictures:
        """Decode a posted picture, cut and scale it.

        Args:
            data: PNG, JPEG or WebP of any size; grey becomes RGB.
            height: rows that the network sees.
            width: columns that the network sees.
            pixel_limit: most pixels of the posted picture.
            pointer: the field to blame.

        Returns:
            RGB float32 in [0, 1], (3, height, width).

        Raises:
            UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
        """
        pixels, white = read_pixels(data, pixel_limit=pixel_limit, pointer=pointer)
        return self.scale(pixels, white=white, height=height, width=width)

    def scale(self, pixels: NDArray[Any], *, white: int, height: int, width: int) -> Pictures:
        """Cut and scale decoded pixels (rows, columns, 3) to RGB float32 in [0, 1], (3, height, width)."""
        scaled = self.apply(pixels, height=height, width=width)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)) / np.float32(white)

    def apply(self, pixels: NDArray[Any], *, height: int, width: int) -> NDArray[np.float32]:
        """Cut and scale pixels (rows, columns, channels), uint8 or uint16, to float32 (height, width, channels)."""
        box = self.box(pixels.shape[0], pixels.shape[1], height / width)
        if self.filter == "area":
            left, top, right, bottom = (round(edge) for edge in box)
            return resize(pixels[top : max(bottom, top + 1), left : max(right, left + 1)], height=height, width=width)
        return _resampled(pixels, box, _FILTERS[self.filter], height=height, width=width)

    def box(self, rows: int, columns: int, shape: float) -> Box:
        """What is seen of a picture: its left, top, right and bottom edge in pixels of the picture.

        Args:
            rows: of the picture.
            columns: of the picture.
            shape: height over width of what the network sees.
        """
        if self.region == "whole":
            tall, wide = rows * self.share, columns * self.share
        else:
            wide = min(columns, rows / shape) * self.share
            tall = wide * shape
        left, top = (columns - wide) / 2, (rows - tall) / 2
        return left, top, min(left + wide, columns), min(top + tall, rows)


def preprocessing_of(parameters: Mapping[str, Any]) -> Preprocessing:
    """What a card's parameters say of it.

    Raises:
        pydantic.ValidationError: they say something that is not known.
    """
    return Preprocessing.model_validate(parameters.get(PARAMETER, {}))


def _resampled(
    pixels: NDArray[Any], box: Box, kind: Image.Resampling, *, height: int, width: int
) -> NDArray[np.float32]:
    """Pillow's resampling of a region, whose kernel widens where a picture shrinks; 8 bits stay 8 bits."""
    if pixels.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize((width, height), kind, box=box), dtype=np.float32)
    channels = [
        np.asarray(Image.fromarray(np.asarray(plane, np.float32)).resize((width, height), kind, box=box))
        for plane in pixels.transpose(2, 0, 1)
    ]
    white = np.float32(np.iinfo(pixels.dtype).max)
    return np.asarray(np.clip(np.stack(channels, axis=2), 0, white), dtype=np.float32)
