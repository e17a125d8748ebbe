"""What detectors find of textures on pictures, as a line of results keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import Picture, VehicleDetector
from services.security.camouflage.evaluation.shots import Shot
from services.security.camouflage.measurement.measures import RESAMPLES, Look, break_down, look, measure
from services.security.camouflage.measurement.measuring import quantise
from services.security.camouflage.reporting.report import THRESHOLDS

Floats = NDArray[np.float32]
Found = dict[str, Any]

_BATCH: Final = 8


def look_at_textures(
    shots: Sequence[Shot],
    textures: Mapping[str, Floats],
    mask: NDArray[np.bool_],
    detectors: Mapping[str, VehicleDetector],
) -> dict[str, dict[str, list[Look]]]:
    """Looks at all pictures, by detector and then by texture.

    Args:
        shots: the pictures.
        textures: float32 (side, side, 3), sRGB in [0, 1]; shown as a PNG keeps them.
        mask: bool (side, side), texels on paint.
        detectors: that are asked.
    """
    found: dict[str, dict[str, list[Look]]] = {name: {} for name in detectors}
    for texture, values in textures.items():
        stored = quantise(values)
        pictures = [shot.with_texture(stored, mask) for shot in shots]
        for name, detector in detectors.items():
            found[name][texture] = look_at_pictures(shots, pictures, detector)
    return found


def look_at_pictures(shots: Sequence[Shot], pictures: Sequence[Picture], detector: VehicleDetector) -> list[Look]:
    """Looks of a detector at pictures that were finished."""
    looks: list[Look] = []
    for start in range(0, len(shots), _BATCH):
        part = shots[start : start + _BATCH]
        answers = detector.find(pictures[start : start + _BATCH])
        looks += [look(one, shot.box, shot.conditions) for one, shot in zip(answers, part, strict=True)]
    return looks


def describe(
    looks: Sequence[Look],
    reference: Sequence[Look] | None = None,
    *,
    bins: bool = False,
    resamples: int = RESAMPLES,
) -> Found:
    """Figures of looks.

    Args:
        looks: at the pictures of a grid.
        reference: at the same with plain paint; without it no success is stated.
        bins: whether to tell them by azimuth, elevation, distance, light and background, too.
        resamples: of the bootstrap.

    Returns:
        `figures` by threshold, `scores` of the car and `views`, in the order of the pictures, and `bins`: pictures and
        detection rate at the first threshold.
    """
    found: Found = {
        "figures": {
            f"{threshold:g}": measure(looks, threshold=threshold, reference=reference, resamples=resamples).model_dump(
                mode="json"
            )
            for threshold in THRESHOLDS
        },
        "scores": [round(one.score, 4) for one in looks],
        "views": [one.conditions.view for one in looks],
    }
    if bins:
        kinds = break_down(looks, threshold=THRESHOLDS[0], resamples=0)
        found["bins"] = {
            name: [[one.name, one.figures.frames, one.figures.detection_rate.value] for one in there]
            for name, there in kinds.items()
        }
    return found


def describe_all(
    looks: Mapping[str, Mapping[str, Sequence[Look]]],
    reference: Mapping[str, Sequence[Look]],
    *,
    bins: bool = False,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Found]]:
    """Figures of looks by detector and texture.

    Args:
        looks: by detector and texture.
        reference: with plain paint, by detector.
        bins: as of `describe`.
        resamples: likewise.
    """
    return {
        detector: {
            name: describe(one, reference[detector], bins=bins, resamples=resamples) for name, one in textures.items()
        }
        for detector, textures in looks.items()
    }
