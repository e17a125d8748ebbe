"""Pneumonia-like opacities: one to three patches of textured tissue within the lung fields.

Size, place, density and edges are drawn. Patches prefer the lower zones, as pneumonia does, and end at the border of
the lung as an airspace does at the pleura.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from services.medical.chest_xray.training.targets.anatomy import LungFields, Mask
from services.medical.chest_xray.training.targets.attenuation import add_attenuation, texture, visibility
from services.medical.chest_xray.training.targets.observer import Finding

Field = NDArray[np.float32]

_ATTENUATION: Final = (0.12, 0.55)
"""Of the middle of a patch."""
_RADIUS: Final = (0.06, 0.17)
"""Of a patch over the height of the film, before its edge is disturbed."""
_ZONES: Final = (0.2, 0.3, 0.5)
"""Probabilities of the upper, middle and lower third of a lung."""
_COUNTS: Final = (0.6, 0.3, 0.1)
"""Probabilities of one, two and three patches."""


def insert_opacities(film: Field, lungs: LungFields, random: np.random.Generator) -> tuple[Field, list[Finding]]:
    """A film with opacities, and these as findings.

    Args:
        film: float32 (H, W) in [0, 1], without findings.
        lungs: of the film.
        random: decides all.
    """
    findings: list[Finding] = []
    for _ in range(1 + int(random.choice(3, p=_COUNTS))):
        patch = _patch(lungs, random)
        changed = add_attenuation(film, patch)
        seen = visibility(film, changed, lungs.placement.height)
        findings.append(Finding(np.abs(changed - film) + np.float32(1e-6) * patch, seen))
        film = changed
    return film, findings


def _patch(lungs: LungFields, random: np.random.Generator) -> Field:
    """Attenuation (H, W) of a patch."""
    height = lungs.placement.height
    lung = lungs.left if random.random() < 0.5 else lungs.right
    row, column = _place(lung, random)
    rows, columns = np.ogrid[: lung.shape[0], : lung.shape[1]]
    radius, stretch, angle = random.uniform(*_RADIUS) * height, random.uniform(0.6, 1.7), random.uniform(0, np.pi)
    down, across = (rows - row) / radius, (columns - column) / radius
    along, beside = down * np.cos(angle) + across * np.sin(angle), across * np.cos(angle) - down * np.sin(angle)
    rough = texture(lung.shape, height, random)
    distance = np.sqrt((along / stretch) ** 2 + (beside * stretch) ** 2) + random.uniform(0.1, 0.3) * rough
    softness = random.uniform(0.08, 0.3)
    body = 1 / (1 + np.exp(np.clip((distance - 1) / softness, -30, 30)))
    edge = ndimage.gaussian_filter(lung.astype(np.float32), 0.008 * height) * lung
    grain = np.clip(1 + random.uniform(0.1, 0.35) * texture(lung.shape, height, random), 0.1, None)
    attenuation: Field = (random.uniform(*_ATTENUATION) * body * edge * grain).astype(np.float32)
    return attenuation


def _place(lung: Mask, random: np.random.Generator) -> tuple[int, int]:
    """Row and column of the middle of a patch."""
    rows, columns = np.nonzero(lung)
    first, last = rows.min(), rows.max() + 1
    thirds = (rows - first) * 3 // (last - first)
    chosen = np.flatnonzero(thirds == random.choice(3, p=_ZONES))
    index = int(random.choice(chosen if len(chosen) else np.arange(len(rows))))
    return int(rows[index]), int(columns[index])
