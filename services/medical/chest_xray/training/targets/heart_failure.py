"""Heart failure: an enlarged cardiac silhouette, haze around the hila, and a meniscus of fluid at the lung bases.

Each sign is drawn with a strength of its own; at least one is there. The silhouette is enlarged by a smooth warp, which
pushes what lies beside it outwards; haze and fluid are added in attenuation.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from services.medical.chest_xray.training.targets.anatomy import LungFields, Mask, costophrenic_angle, heart, hilum
from services.medical.chest_xray.training.targets.attenuation import add_attenuation, texture, visibility
from services.medical.chest_xray.training.targets.observer import Finding

Field = NDArray[np.float32]

_WIDENING: Final = (1.12, 1.45)
"""Factor of the width of the silhouette."""
_HAZE: Final = (0.1, 0.35)
_FLUID: Final = (0.2, 0.6)
"""Attenuations."""
_LEVEL: Final = (0.05, 0.18)
"""Height of the fluid at the chest wall over the height of the lung."""
_PRESENCE: Final = (0.8, 0.8, 0.6)
"""Probability of silhouette, haze and fluid."""


def insert_heart_failure(film: Field, lungs: LungFields, random: np.random.Generator) -> tuple[Field, list[Finding]]:
    """A film with signs of heart failure, and these as findings.

    Args:
        film: float32 (H, W) in [0, 1], without findings.
        lungs: of the film.
        random: decides all.
    """
    present = random.random(3) < _PRESENCE
    if not present.any():
        present[int(random.integers(3))] = True
    findings: list[Finding] = []
    for there, insert in zip(present, (widen_heart, add_haze, add_fluid), strict=True):
        if there:
            changed = insert(film, lungs, random)
            seen = visibility(film, changed, lungs.placement.height)
            findings.append(Finding(np.abs(changed - film) + np.float32(1e-9), seen))
            film = changed
    return film, findings


def widen_heart(film: Field, lungs: LungFields, random: np.random.Generator) -> Field:
    """A wider cardiac silhouette."""
    (row, column), (tall, wide) = heart(lungs)
    factor = random.uniform(*_WIDENING)
    rows, columns = np.mgrid[: film.shape[0], : film.shape[1]].astype(np.float32)
    down, across = (rows - row) / max(tall, 1), (columns - column) / max(wide, 1)
    near = np.exp(-(down**4) / 2) * np.exp(-((across / 1.6) ** 4) / 2)
    source = column + (columns - column) * (1 - (1 - 1 / factor) * near)
    warped: Field = ndimage.map_coordinates(film, [rows, source], order=1, mode="nearest").astype(np.float32)
    return warped


def add_haze(film: Field, lungs: LungFields, random: np.random.Generator) -> Field:
    """Haze around both hila, with coarse streaks, within the lungs."""
    height = lungs.placement.height
    added = np.zeros(film.shape, np.float32)
    rows, columns = np.ogrid[: film.shape[0], : film.shape[1]]
    strength, reach = random.uniform(*_HAZE), random.uniform(0.09, 0.16) * height
    for side, lung in enumerate((lungs.left, lungs.right)):
        row, column = hilum(lung, side)
        around = np.exp(-(((rows - row) / (1.5 * reach)) ** 2 + ((columns - column) / reach) ** 2) / 2)
        added += around.astype(np.float32) * _soft(lung, height) * np.float32(random.uniform(0.7, 1.0))
    grain = np.clip(1 + 0.4 * texture(film.shape, height, random), 0, None)
    return add_attenuation(film, np.float32(strength) * added * grain)


def add_fluid(film: Field, lungs: LungFields, random: np.random.Generator) -> Field:
    """Fluid at the base of one lung or both: a concave level that rises towards the chest wall."""
    sides = [0, 1] if random.random() < 0.6 else [int(random.integers(2))]
    added = np.zeros(film.shape, np.float32)
    for side in sides:
        lung = lungs.left if side == 0 else lungs.right
        added += _meniscus(lung, side, random.uniform(*_LEVEL)) * _lowered(lung, lungs.placement.height)
    return add_attenuation(film, np.float32(random.uniform(*_FLUID)) * np.clip(added, 0, 1))


def _meniscus(lung: Mask, side: int, level: float) -> Field:
    """(H, W) from 0 above the fluid to 1 in it."""
    rows, columns = np.ogrid[: lung.shape[0], : lung.shape[1]]
    found_rows, found_columns = np.nonzero(lung)
    tall, wide = np.ptp(found_rows) + 1, np.ptp(found_columns) + 1
    bottom, wall = costophrenic_angle(lung, side)
    inward = np.clip(np.abs(columns - wall) / wide, 0, 1)
    surface = bottom - tall * level * (0.35 + 0.65 * (1 - inward) ** 2)
    depth = (rows - surface) / (0.02 * tall)
    below: Field = (1 / (1 + np.exp(np.clip(-depth, -30, 30)))).astype(np.float32)
    return below


def _lowered(lung: Mask, height: int) -> Field:
    """The lung and what lies just below it, with soft edges: fluid ends in the bright diaphragm, not at an edge."""
    below = np.maximum.reduce([np.roll(lung, step, axis=0) for step in range(max(2, height // 40))])
    soft: Field = ndimage.gaussian_filter(below.astype(np.float32), 0.012 * height)
    return soft


def _soft(mask: Mask, height: int) -> Field:
    soft: Field = ndimage.gaussian_filter(mask.astype(np.float32), 0.01 * height) * mask
    return soft
