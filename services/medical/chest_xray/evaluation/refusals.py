"""Which pictures a model takes for frontal chest films: films of the test split, and everything else by kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.subjects import OnnxFilms
from services.medical.chest_xray.films import prepare_film
from services.medical.chest_xray.roles import PARAMETER
from services.medical.chest_xray.training.data.manifest import read_manifest
from services.medical.chest_xray.training.other_pictures import SEEN, UNSEEN, Source
from services.medical.chest_xray.training.screening import HEAD, Reader, ScreeningHead, accepted, measure

COUNT: Final = 300
"""Most pictures of a kind."""

THRESHOLD: Final = "frontal_threshold"
CARD: Final = "card.json"


def measure_head(data: Path, file: Path = HEAD) -> dict[str, Any]:
    """The trained head of screening by itself, on the test split; errors as of `ScreeningHead.read`."""
    head = ScreeningHead.read(file)
    return {"threshold": head.threshold, "kinds": measure(Reader(data), head, "test"), "unseen": [*UNSEEN]}


def threshold_of(file: Path, model: OnnxFilms) -> float:
    """Logit from which a model accepts: by the card beside its file, or by its own metadata.

    Raises:
        ValueError: neither states one.
    """
    card = file.with_name(CARD)
    stated = json.loads(card.read_text(encoding="utf-8"))["parameters"].get(PARAMETER, {}) if card.exists() else {}
    if (found := stated.get(THRESHOLD, model.metadata.get(THRESHOLD))) is None:
        raise ValueError(f"neither {CARD} beside the model nor its metadata states a {THRESHOLD}")
    return float(found)


def measure_refusals(data: Path, file: Path) -> dict[str, Any]:
    """A model with the output `frontal`, on the test split; errors as of `threshold_of`."""
    model = OnnxFilms(file)
    threshold = threshold_of(file, model)
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
