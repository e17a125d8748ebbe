"""From posted pictures to their captions, in groups that bound what beams hold in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.perception.captioning.captioners import Captioner, SeenPicture
from services.perception.captioning.decoding import DecodedCaption
from services.perception.captioning.schemas import CaptionOptions
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.compute_pool import Admission
from shared.telemetry.timing import timed


@dataclass(frozen=True, slots=True)
class Described:
    """A picture with its captions."""

    picture: SeenPicture
    captions: Sequence[DecodedCaption]


def read_pictures(files: Sequence[bytes], captioner: Captioner, *, pixel_limit: int) -> list[SeenPicture]:
    """Posted pictures as a captioner sees them. Blocks."""
    with timed("pre"):
        return [
            captioner.read(data, pixel_limit=pixel_limit, pointer=f"/body/file/{index}")
            for index, data in enumerate(files)
        ]


async def describe_pictures(
    pictures: Sequence[SeenPicture],
    captioner: Captioner,
    options: CaptionOptions,
    *,
    batchers: Batchers,
    admission: Admission,
) -> list[Described]:
    """Captions of pictures: as many at once as the captioner takes rows.

    Pictures are encoded together with those of other requests, as the batcher has it; words are searched for those of
    this request alone, all rows in one run for each word.
    """
    group = max(1, captioner.most_rows // options.beams)
    found: list[list[DecodedCaption]] = []
    for start in range(0, len(pictures), group):
        seen = np.stack([picture.pixels for picture in pictures[start : start + group]])
        encoded = await _encode(seen, captioner, batchers)
        found += await admission.run(_search, captioner, encoded, options)
    return [Described(picture, captions) for picture, captions in zip(pictures, found, strict=True)]


async def _encode(pictures: NDArray[np.float32], captioner: Captioner, batchers: Batchers) -> dict[str, NDArray[Any]]:
    rows = captioner.encoder.card.runtime.batch_rows or len(pictures)
    parts = [
        await batchers.infer(captioner.encoder, {captioner.input: pictures[start : start + rows]})
        for start in range(0, len(pictures), rows)
    ]
    return captioner.named([np.concatenate(arrays) for arrays in zip(*parts, strict=True)])


def _search(
    captioner: Captioner, encoded: dict[str, NDArray[Any]], options: CaptionOptions
) -> list[list[DecodedCaption]]:
    with timed("infer"):
        return captioner.search(encoded, beams=options.beams, captions=options.captions, most_words=options.most_words)
