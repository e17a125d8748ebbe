"""Captions as JSON: a `CaptionAnswer`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.perception.captioning.attention import map_png, map_sides
from services.perception.captioning.captioners import Captioner, SeenPicture
from services.perception.captioning.decoding import DecodedCaption
from services.perception.captioning.inference import Described
from services.perception.captioning.schemas import AttentionKind
from shared.runtime.cards import reference_of


def describe_answer(described: Sequence[Described], captioner: Captioner, attention: AttentionKind) -> dict[str, Any]:
    """A `CaptionAnswer`; arrays stand in it as they are, for orjson."""
    rows, columns = captioner.role.grid
    return {
        "pictures": [
            {"index": index, **_describe_picture(one, captioner, attention)} for index, one in enumerate(described)
        ],
        "grid": {"rows": rows, "columns": columns},
        "length_power": captioner.role.length_power,
        "model": captioner.reference.model_dump(),
        "encoder": reference_of(captioner.encoder.card).model_dump(),
        "caveats": list(captioner.caveats),
    }


def _describe_picture(described: Described, captioner: Captioner, attention: AttentionKind) -> dict[str, Any]:
    picture = described.picture
    map_height, map_width = map_sides(picture.height, picture.width)
    return {
        "width": picture.width,
        "height": picture.height,
        "seen": dict(zip(("left", "top", "right", "bottom"), picture.box, strict=True)),
        "map_width": map_width,
        "map_height": map_height,
        "captions": [_describe_caption(one, picture, captioner, attention) for one in described.captions],
    }


def _describe_caption(
    caption: DecodedCaption, picture: SeenPicture, captioner: Captioner, attention: AttentionKind
) -> dict[str, Any]:
    role = captioner.role
    words = [role.words[number] for number in caption.words]
    *likely, end = caption.log_probabilities
    maps = caption.attention.reshape(-1, *role.grid)
    return {
        "text": role.join(words),
        "log_probability": sum(caption.log_probabilities),
        "score": caption.score,
        "end_log_probability": end,
        "words": [
            {"word": word, "log_probability": one, **_describe_attention(weights, picture, attention)}
            for word, one, weights in zip(words, likely, maps, strict=True)
        ],
    }


def _describe_attention(weights: NDArray[np.float32], picture: SeenPicture, attention: AttentionKind) -> dict[str, Any]:
    found: dict[str, Any] = {"attention": None, "attention_png": None}
    if attention == "values":
        found["attention"] = weights
    if attention == "png":
        content = map_png(weights, picture.box, height=picture.height, width=picture.width)
        found["attention_png"] = b64encode(content).decode("ascii")
    return found
