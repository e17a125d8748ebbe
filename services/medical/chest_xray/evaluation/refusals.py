"""Which pictures a model takes for frontal chest films: films of the test split, and everything else by kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.subjects import OnnxFilms
from services.medical.chest_xray.films import prepare_film
from services.medical.chest_xray.training.data.manifest import read_manifest
from services.medical.chest_xray.training.other_pictures import SEEN, UNSEEN, Source
from services.medical.chest_xray.training.screening import HEAD, Reader, ScreeningHead, accepted, measure

COUNT: Final = 300
"""Most pictures of a kind."""

METADATA: Final = "frontal_threshold"


def measure_head(data: Path, file: Path = HEAD) -> dict[str, Any]:
    """The trained head of screening by itself, on the test split; errors as of `ScreeningHead.read`."""
    head = ScreeningHead.read(file)
    return {"threshold": head.threshold, "kinds": measure(Reader(data), head, "test"), "unseen": [*UNSEEN]}


def measure_refusals(data: Path, model: OnnxFilms) -> dict[str, Any]:
    """A model by its output `frontal` and the threshold in its metadata, on the test split.

    Raises:
        ValueError: it has no such output, or states no threshold.
    """
    if "frontal" not in model.outputs or METADATA not in model.metadata:
        raise ValueError(f"the model has no output frontal, or no {METADATA} in its metadata")
    threshold = float(model.metadata[METADATA])
    source = Source(data, [film for film in read_manifest(data) if film.split == "test"], "test", COUNT)
    pictures = ((int(film.patient), source.read(film)) for film in source.films)
    kinds = {"films": _logits(model, pictures)}
    kinds |= {name: _logits(model, kind(source)) for name, kind in {**SEEN, **UNSEEN}.items()}
    found = {name: accepted(logits, threshold) for name, logits in kinds.items()}
    return {"threshold": threshold, "kinds": found, "unseen": [*UNSEEN]}


def _logits(model: OnnxFilms, pictures: Iterator[tuple[int, NDArray[np.float32]]]) -> NDArray[np.float64]:
    found = []
    for _, pixels in pictures:
        prepared = prepare_film(np.ascontiguousarray(pixels, np.float32), model.size)
        found.append(float(model(prepared.array[None])["frontal"][0]))
    return np.array(found)
