"""What is painted: one of the cars here, or a mesh that a caller posts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from services.security.camouflage.meshes.cars import CarName, make_car
from services.security.camouflage.meshes.importing import LIMITS, SIZES, ImportedMesh, UpAxis, import_mesh
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.rendering.views import CLEARANCE
from shared.problems import ContentTooLarge, FieldError, field_problem

MESH_POINTER: Final = "/body/mesh"

LOOKED_AT: Final = 0.7
"""Metres above the ground of the point that cameras look at."""


class SubjectOptions(BaseModel):
    """Which surface is painted, and how a posted mesh is to be read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    car: CarName = Field(default="sedan", description="A built-in car, where no `mesh` is posted")
    up: UpAxis | None = Field(
        default=None, description="Axis that points up in a posted OBJ; y unless given. In GLB it is y"
    )
    length_m: float | None = Field(
        default=None,
        ge=SIZES[0],
        le=SIZES[1],
        allow_inf_nan=False,
        description="Metres that a posted mesh is scaled to, along its longer side on the ground; as in the file "
        "unless given",
    )
    painted: list[str] = Field(
        default=[],
        max_length=LIMITS.materials,
        description="Names of materials of a posted mesh that are painted; by their names unless given: glass, wheels, "
        "lamps and trim are not. Send the field again for each",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A surface with what is to be said of it.

    Attributes:
        mesh: it.
        name: of the car, or `posted`.
        materials: names of materials in a posted file, and the part that each was taken for.
        unwrapped: whether its texture coordinates were made here.
    """

    mesh: Mesh
    name: str
    materials: dict[str, str] = field(default_factory=dict)
    unwrapped: bool = False


def find_subject(options: SubjectOptions, mesh: bytes | None) -> Subject:
    """The car or the posted mesh. Blocks, for up to seconds.

    Raises:
        ContentTooLarge: the mesh exceeds the limits.
        UnprocessableContent: it cannot be read or painted, or options of a mesh are given without one.
    """
    if mesh is None:
        for name in ("up", "length_m", "painted"):
            if getattr(options, name):
                raise field_problem(f"/body/{name}", "This is of a posted `mesh`: post one, or leave it out.")
        return Subject(make_car(options.car), options.car)
    imported = _imported(options, mesh)
    materials = {name: part.name.lower() for name, part in imported.materials.items()}
    return Subject(imported.mesh, "posted", materials, imported.unwrapped)


def _imported(options: SubjectOptions, mesh: bytes) -> ImportedMesh:
    try:
        return import_mesh(
            mesh,
            pointer=MESH_POINTER,
            up=options.up or "y",
            length=options.length_m,
            painted=frozenset(options.painted) or None,
        )
    except ContentTooLarge as problem:
        raise ContentTooLarge(
            problem.detail, errors=[FieldError(pointer=MESH_POINTER, detail=problem.detail)]
        ) from None


def require_distance(subject: Subject, metres: float, *, pointer: str) -> None:
    """Check that no camera at this distance stands inside of the sphere around the mesh.

    Raises:
        UnprocessableContent: one does.
    """
    mesh = subject.mesh
    # Cameras look at a point 0.7 m above the middle, which need not be the mesh's.
    off = math.dist((0.0, 0.0, LOOKED_AT), mesh.centre.tolist())
    least = CLEARANCE * mesh.radius + off
    if metres < least:
        raise field_problem(pointer, f"Cameras of this mesh stand {math.ceil(10 * least) / 10:g} m away at least.")
