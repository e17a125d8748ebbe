"""What files of meshes hold, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_MATERIAL = "body"
"""Name of the material of faces that name none."""


@dataclass(frozen=True, slots=True)
class MeshLimits:
    """What a file may hold at most."""

    bytes: int = 16 * 1024 * 1024
    vertices: int = 180_000
    faces: int = 60_000
    materials: int = 200


@dataclass(frozen=True, slots=True, eq=False)
class RawMesh:
    """Triangles of a file.

    Attributes:
        positions: float64 (vertices, 3), as in the file.
        faces: int32 (faces, 3).
        uv: float64 (faces, 3, 2), v upwards; None if any face lacks it.
        material_of: int32 (faces,), places in the names.
        materials: names.
    """

    positions: NDArray[np.float64]
    faces: NDArray[np.int32]
    uv: NDArray[np.float64] | None
    material_of: NDArray[np.int32]
    materials: tuple[str, ...]
