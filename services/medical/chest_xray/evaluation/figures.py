"""All figures out of the lines of results: what the report states, and nothing beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.medical.chest_xray.evaluation.attention import summarise_maps
from services.medical.chest_xray.evaluation.diagnosis import CROSS_VALIDATED, FIXED, Footing, summarise_diagnosis
from services.medical.chest_xray.evaluation.film_set import FilmSet
from services.medical.chest_xray.roles import CLASSES

REFERENCE: Final = "ImageNet features"
"""The strongest baseline, which others are compared with."""

PRIOR: Final = "mean of training densities"
BOX_PRIOR: Final = "mean of training boxes"
RANDOM: Final = "random network, seed 0"

Line = Mapping[str, Any]


def summarise(films: FilmSet, lines: Iterable[Line]) -> dict[str, Any]:
    """Figures by table.

    Args:
        films: all films.
        lines: results; of several of one part and subject the last one counts.
    """
    by_part: dict[str, dict[str, Any]] = {}
    for line in lines:
        by_part.setdefault(line["part"], {})[line["subject"]] = line["figures"]
    footings = {
        name: summarise_diagnosis(films, by_part[name], REFERENCE)
        for name in (FIXED, CROSS_VALIDATED)
        if name in by_part
    }
    return {
        "films": _counts(films),
        "diagnosis": footings,
        "boxes": {where: _boxes(films, by_part, where) for where in ("test", "folds")},
        "inserted": _inserted(films, by_part),
        "screening": by_part.get("screening", {}),
        "latency": by_part.get("latency", {}),
    }


def _counts(films: FilmSet) -> dict[str, Any]:
    """Films and patients by split, and what is known of the test split."""
    test, footing = films.of("test"), Footing(films, FIXED)
    return {
        "all": len(films),
        "patients": len(set(films.patients.tolist())),
        "by_split": {split: int(films.of(split).sum()) for split in ("train", "val", "test")},
        "test_classes": {name: int((films.labels[test] == label).sum()) for label, name in enumerate(CLASSES)},
        "test_opacity": footing.opacity_counts(),
    }


def _boxes(films: FilmSet, by_part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Maps on boxes of the test split, or of all films by folds."""
    columns = {name: found[where] for name, found in by_part.get("boxes of priors", {}).get("priors", {}).items()}
    for model, found in by_part.get(f"boxes of {where}", {}).items():
        columns |= {f"{model}, {name}": column for name, column in found.items()}
    return summarise_maps(films, columns, BOX_PRIOR) if columns else {}


def _inserted(films: FilmSet, by_part: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(by_part.get("inserted findings of priors", {}).get("priors", {}))
    for model, found in by_part.get("inserted findings", {}).items():
        columns |= {f"{model}, {name}": column for name, column in found.items()}
    return summarise_maps(films, columns, PRIOR) if columns else {}
