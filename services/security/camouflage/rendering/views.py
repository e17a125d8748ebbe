"""What a camera sees of a mesh, computed once: which surface in which pixel, and where.

A pixel is sampled at a grid of points. Samples of a pixel that see the same surface make one fragment, weighted by
their share of the pixel, so that shading is paid once per surface and pixel and edges are smooth nevertheless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.rasteriser import Planes, find_nearest, make_planes
from services.security.camouflage.rendering.camera import Camera

SAMPLES: Final = 2
"""Samples of a pixel along each axis."""

CLEARANCE: Final = 1.02
"""Least distance of the camera from the mesh's centre, in its radii."""


@dataclass(frozen=True, eq=False)
class View:
    """The fragments of a picture, n in all, ordered by pixel.

    Attributes:
        camera: it was seen with.
        mesh: that was seen.
        pixels: int64 (n,), row * width + column.
        weights: float32 (n,), share of the pixel.
        faces: int32 (n,).
        barycentric: float32 (n, 3), of the corners of the face, in perspective.
        uv: float32 (n, 2) in the texture.
        footprints: float32 (n, 2, 2), how far uv goes for a pixel to the right [:, 0] and downwards [:, 1].
        normals: float32 (n, 3), of unit length, on the side of the camera.
        positions: float32 (n, 3) in metres.
        depths: float32 (n,), metres along the camera's axis.
        directions: float32 (n, 3), unit vectors towards the camera.
    """

    camera: Camera
    mesh: Mesh
    pixels: NDArray[np.int64]
    weights: NDArray[np.float32]
    faces: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    uv: NDArray[np.float32]
    footprints: NDArray[np.float32]
    normals: NDArray[np.float32]
    positions: NDArray[np.float32]
    depths: NDArray[np.float32]
    directions: NDArray[np.float32]

    @cached_property
    def coverage(self) -> NDArray[np.float32]:
        """Share of each pixel that the mesh fills, float32 (height, width) in [0, 1]."""
        size = self.camera.width * self.camera.height
        summed = np.bincount(self.pixels, self.weights, minlength=size).astype(np.float32)
        return summed.reshape(self.camera.height, self.camera.width)

    @cached_property
    def painted(self) -> NDArray[np.bool_]:
        """Which fragments are painted, bool (n,)."""
        return self.mesh.paintable[self.faces]

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of the mesh in whole pixels, right and bottom excluded; None if unseen."""
        rows, columns = np.nonzero(self.coverage >= 0.5)
        if len(rows) == 0:
            return None
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def see_mesh(mesh: Mesh, camera: Camera) -> View:
    """What the camera sees of a mesh.

    Raises:
        ValueError: the camera is inside of the sphere around the mesh.
    """
    if np.linalg.norm(camera.position - mesh.centre) < CLEARANCE * mesh.radius:
        raise ValueError(f"a camera is at least {CLEARANCE * mesh.radius:.1f} m from the middle of the mesh")
    points, depth = camera.project(mesh.corners.astype(np.float64))
    planes = make_planes(points * SAMPLES, cull=mesh.closed)
    width, height = camera.width * SAMPLES, camera.height * SAMPLES
    found, nearest = find_nearest(points * SAMPLES, 1 / depth, planes, width=width, height=height)
    faces, centres, pixels, weights = _group(mesh, found, nearest)
    return _attributes(mesh, camera, planes, 1 / depth, faces, centres, pixels, weights)


def _group(
    mesh: Mesh, found: NDArray[np.int32], nearest: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64], NDArray[np.float32]]:
    """Fragments: the nearest face of each, the middle of its samples, its pixel and its share of that."""
    rows, columns = np.nonzero(found >= 0)
    faces, near = found[rows, columns], nearest[rows, columns]
    pixel = (rows // SAMPLES).astype(np.int64) * (found.shape[1] // SAMPLES) + columns // SAMPLES
    surface = mesh.surfaces[faces]
    order = np.lexsort((-near, surface, pixel))
    keys = pixel[order] * (int(mesh.surfaces.max(initial=0)) + 1) + surface[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else np.zeros(0, np.int64)
    counts = np.diff(np.concatenate((starts, [len(keys)])))
    if len(keys) == 0:
        return faces, np.zeros((0, 2)), pixel, np.zeros(0, np.float32)
    places = np.stack((columns[order] + 0.5, rows[order] + 0.5), axis=1)
    centres = np.add.reduceat(places, starts, axis=0) / counts[:, None]
    return faces[order][starts], centres, pixel[order][starts], (counts / SAMPLES**2).astype(np.float32)


def _attributes(
    mesh: Mesh,
    camera: Camera,
    planes: Planes,
    inverse_depth: NDArray[np.float64],
    faces: NDArray[np.int32],
    centres: NDArray[np.float64],
    pixels: NDArray[np.int64],
    weights: NDArray[np.float32],
) -> View:
    """Everything of fragments that is linear on their face, in perspective."""
    linear = np.maximum(planes.at(faces, centres), 0)
    inverse = inverse_depth[faces]
    shares = linear * inverse
    scale = shares.sum(axis=1, keepdims=True)
    barycentric = shares / scale
    uv, corners = mesh.uv[faces], mesh.corners[faces]
    place = np.einsum("nc,nck->nk", barycentric, uv)
    slopes = planes.gradients[faces][:, :, :2] * inverse[..., None] * SAMPLES
    footprints = np.einsum("nca,nck->nak", slopes, uv) - slopes.sum(axis=1)[..., None] * place[:, None]
    positions = np.einsum("nc,nck->nk", barycentric, corners)
    directions = camera.position - positions
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normals = np.einsum("nc,nck->nk", barycentric, mesh.normals[faces])
    if not mesh.closed:
        normals = _turned(normals, corners, directions)
    normals = _facing(normals, directions)
    return View(
        camera=camera,
        mesh=mesh,
        pixels=pixels,
        weights=weights,
        faces=faces,
        barycentric=_single(barycentric),
        uv=_single(place),
        footprints=_single(footprints / scale[..., None]),
        normals=_single(normals),
        positions=_single(positions),
        depths=_single((positions - camera.position) @ camera.axes[2]),
        directions=_single(directions),
    )


def _turned(
    normals: NDArray[np.float64], corners: NDArray[np.float32], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Normals of faces that are seen from behind, turned round."""
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    behind = np.einsum("nk,nk->n", outwards, directions) < 0
    return np.where(behind[:, None], -normals, normals)


def _facing(normals: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normals, those that smoothing turned away from the camera bent back to where it sees them from the side."""
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    seen = np.einsum("nk,nk->n", normals, directions)
    normals = normals + np.maximum(0.02 - seen, 0)[:, None] * directions
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)
