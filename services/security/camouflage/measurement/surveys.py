"""Measures under way as a checkpoint keeps them, so that no detector is asked twice after a worker was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.security.camouflage.measurement.conditions import Condition
from services.security.camouflage.measurement.measures import Look
from services.security.camouflage.measurement.measuring import Sight, Survey, conditions_of_look


def describe_survey(survey: Survey) -> dict[str, Any]:
    """As JSON."""
    return {"silent": survey.silent, "sights": [None if one is None else _describe(one) for one in survey.sights]}


def read_survey(document: Mapping[str, Any], conditions: Sequence[Condition]) -> Survey:
    """What `describe_survey` made.

    Args:
        document: it.
        conditions: that are measured under, in their order.
    """
    sights = [
        None if one is None else _read(one, conditions[place], place) for place, one in enumerate(document["sights"])
    ]
    return Survey(sights, dict(document["silent"]))


def _describe(sight: Sight) -> dict[str, Any]:
    looks = {
        detector: {texture: [one.score, one.scores.tolist(), one.hit] for texture, one in textures.items()}
        for detector, textures in sight.looks.items()
    }
    return {"box": list(sight.box), "looks": looks}


def _read(document: Mapping[str, Any], condition: Condition, place: int) -> Sight:
    made_under = conditions_of_look(condition, place)
    looks = {
        detector: {
            texture: Look(made_under, score, np.array(scores, np.float32), hit)
            for texture, (score, scores, hit) in textures.items()
        }
        for detector, textures in document["looks"].items()
    }
    left, top, right, bottom = document["box"]
    return Sight(condition, (left, top, right, bottom), looks)
