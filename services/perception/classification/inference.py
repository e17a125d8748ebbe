"""From pictures of any size to calibrated class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from shared.imaging.pictures import decode_picture
from shared.runtime.sessions import OnnxModel
from shared.telemetry.timing import timed

SIDE = 32
"""Height and width that the network sees, in pixels."""

Pictures = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """What the network says of a batch.

    Attributes:
        logits: float32, (count, classes).
        probabilities: softmax of the logits over the temperature, float32, (count, classes).
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


def read_picture(data: bytes, *, pixel_limit: int, pointer: str) -> Pictures:
    """A posted picture as the network wants it.

    Args:
        data: PNG, JPEG or WebP of a cropped sign, any size.
        pixel_limit: most pixels of the posted picture.
        pointer: the field to blame.

    Returns:
        RGB float32 in [0, 1], (3, 32, 32).

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
    """
    scaled = decode_picture(data, limit_pixels=pixel_limit, pointer=pointer).scaled()
    colour = scaled if scaled.ndim == 3 else np.repeat(scaled[:, :, None], 3, axis=2)
    return resize(colour).transpose(2, 0, 1)


def resize(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale the whole picture to 32x32 by bilinear sampling without smoothing, as the training data was (OpenCV's way).

    Args:
        picture: float32, (height, width, 3).
    """
    height, width = picture.shape[:2]
    if (height, width) == (SIDE, SIDE):
        return picture
    scale = (width / SIDE, 0.0, 0.0, 0.0, height / SIDE, 0.0)
    channels = [
        Image.fromarray(np.ascontiguousarray(picture[:, :, channel])).transform(
            (SIDE, SIDE), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR
        )
        for channel in range(3)
    ]
    return np.stack([np.asarray(channel, dtype=np.float32) for channel in channels], axis=2)


def classify(pictures: Sequence[Pictures], model: OnnxModel) -> Scores:
    """Run the network on a batch.

    Args:
        pictures: each float32 in [0, 1], (3, 32, 32).
        model: a released classifier; its card holds the temperature that was fitted on validation pictures.
    """
    with timed("infer"):
        logits = cast("NDArray[np.float32]", model.run({"pictures": np.stack(pictures)})[0])
    temperature = float(cast("float", model.card.parameters.get("temperature", 1.0)))
    return Scores(logits, softmax(logits / np.float32(temperature), axis=1).astype(np.float32))
