"""Three cars of our own: a sedan, a van and a pickup.

Their measures are those of common cars of each kind; none is a copy of a car that is sold.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from services.security.camouflage.meshes.bodies import BLACK, BodyShape, make_body
from services.security.camouflage.meshes.fittings import make_block, make_wheel
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.patches import Patch, join_patches, mirror_patch

CarName = Literal["sedan", "van", "pickup"]

SEDAN: Final = BodyShape(
    belt=((-2.30, 0.80), (-2.0, 0.93), (-1.2, 0.94), (0.0, 0.90), (1.0, 0.86), (1.7, 0.80), (2.15, 0.71), (2.30, 0.64)),
    top=(
        (-2.30, 0.83), (-2.22, 0.96), (-2.0, 1.03), (-1.72, 1.05), (-1.0, 1.36), (-0.55, 1.42), (0.0, 1.43),
        (0.35, 1.39), (1.02, 0.96), (1.5, 0.88), (2.0, 0.78), (2.2, 0.72), (2.30, 0.66),
    ),
    width=((-2.30, 0.74), (-2.1, 0.84), (-1.5, 0.89), (0.0, 0.90), (1.4, 0.89), (2.0, 0.83), (2.2, 0.76), (2.30, 0.70)),
    sill=0.20,
    axles=(-1.33, 1.38),
    arch=0.37,
    axle_height=0.32,
    tumblehome=0.46,
    crown=0.05,
    nose=0.24,
    seams=(0.88, -0.12, -1.02),
    pillars=(-0.08,),
    side_windows=(-1.38, 0.92),
    windscreen=(0.38, 1.00),
    rear_window=(-1.68, -1.02),
)  # fmt: skip

VAN: Final = BodyShape(
    belt=((-2.45, 1.00), (-2.2, 1.05), (0.0, 1.05), (1.2, 1.02), (1.8, 0.96), (2.25, 0.84), (2.45, 0.72)),
    top=(
        (-2.45, 1.84), (-2.38, 1.90), (-2.1, 1.94), (0.0, 1.95), (0.75, 1.91), (1.62, 1.14), (1.9, 1.05),
        (2.25, 0.90), (2.45, 0.75),
    ),
    width=((-2.45, 0.90), (-2.2, 0.95), (0.0, 0.96), (1.6, 0.95), (2.1, 0.88), (2.45, 0.74)),
    sill=0.22,
    axles=(-1.50, 1.52),
    arch=0.39,
    axle_height=0.34,
    tumblehome=0.16,
    crown=0.05,
    nose=0.24,
    seams=(1.15, 0.25, -0.85),
    pillars=(0.25, -0.85),
    side_windows=(-2.15, 1.25),
    windscreen=(0.80, 1.58),
    rear_glass=True,
)  # fmt: skip

PICKUP: Final = BodyShape(
    belt=((-2.65, 1.02), (-2.5, 1.05), (-0.7, 1.05), (1.1, 1.02), (1.9, 0.98), (2.45, 0.92), (2.65, 0.84)),
    top=(
        (-2.65, 1.05), (-2.5, 1.09), (-0.84, 1.09), (-0.78, 1.12), (-0.58, 1.70), (-0.2, 1.76), (0.35, 1.73),
        (1.02, 1.15), (1.3, 1.09), (2.2, 1.03), (2.5, 0.96), (2.65, 0.87),
    ),
    width=((-2.65, 0.88), (-2.4, 0.92), (0.0, 0.94), (1.6, 0.94), (2.3, 0.90), (2.65, 0.80)),
    sill=0.36,
    axles=(-1.62, 1.62),
    arch=0.44,
    axle_height=0.39,
    tumblehome=0.30,
    crown=0.05,
    nose=0.18,
    seams=(0.98, 0.05, -0.72),
    pillars=(0.08,),
    side_windows=(-0.58, 0.92),
    windscreen=(0.38, 0.98),
    rear_window=(-0.76, -0.60),
    bed=(-2.55, -0.88),
    bed_depth=0.42,
)  # fmt: skip

_SHAPES: Final[dict[CarName, BodyShape]] = {"sedan": SEDAN, "van": VAN, "pickup": PICKUP}

CARS: Final[tuple[CarName, ...]] = tuple(_SHAPES)
"""Names of the cars that come with the capability."""


@lru_cache(maxsize=len(_SHAPES))
def make_car(name: CarName) -> Mesh:
    """One of the cars: closed parts, symmetric about y = 0, standing on the ground, the front towards x.

    Raises:
        KeyError: there is no car of that name.
    """
    shape = _SHAPES[name]
    left = [*_wheels(shape), *_mirror(shape)]
    return join_patches([*make_body(shape), *left, *(mirror_patch(one) for one in left), *_underside(shape)])


def _wheels(shape: BodyShape) -> list[Patch]:
    outside = max(half for _, half in shape.width) - 0.035
    return [patch for axle in shape.axles for patch in make_wheel(axle, outside, shape.axle_height, 0.22)]


def _mirror(shape: BodyShape) -> list[Patch]:
    """The left mirror, at the front of the side window."""
    x = shape.windscreen[1] - 0.30
    inside = max(half for _, half in shape.width) - 0.07
    belt = dict(shape.belt)[min(dict(shape.belt), key=lambda place: abs(place - x))]
    return make_block((x, inside, belt + 0.03), (x + 0.14, inside + 0.20, belt + 0.18), BLACK, 0.7)


def _underside(shape: BodyShape) -> list[Patch]:
    """A dark block between the wheels, so that nobody looks through the wheel arches."""
    half = max(half for _, half in shape.width) - 0.30
    rear, front = shape.axles
    return make_block(
        (rear - 0.6, -half, shape.sill - 0.03), (front + 0.6, half, shape.axle_height + shape.arch + 0.02), BLACK
    )
