"""The arms that are compared: where pixels are changed, and by which search.

A comparison is fair between arms of the same k, bound, seed and number of queries. That attention helps is shown by A
against C, and by E against D: each pair differs in the positions alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.caption_attack.captioners.queries import picture_key
from services.security.caption_attack.searching.candidates import Guidance, Positions, choose_positions
from services.security.caption_attack.searching.evolution import DifferentialEvolution, EvolutionSettings
from services.security.caption_attack.searching.perturbations import (
    WHITE,
    GeneSpace,
    MovingPixels,
    OnePixel,
    PixelDeltas,
    WholePicture,
    require_picture,
)
from services.security.caption_attack.searching.search import Search
from services.security.caption_attack.searching.searches import (
    GaussianNoise,
    RandomDraws,
    RandomSearch,
    SparseRandomSearch,
    SquareSearch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOptions:
    """What arms that are compared have in common.

    Attributes:
        pixels: k, those that may change.
        bound: most that a channel of them may change by.
        seed: of positions and search. Each picture has random numbers of its own under the same seed.
        queries: all there will be, to which schedules are stretched.
        share: of pixels that are candidates.
        children: of one parent that are scored together, in searches that have one.
        evolution: settings of differential evolution.
    """

    pixels: int
    bound: int
    seed: int
    queries: int
    share: float = 0.5
    children: int = 1
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)


@dataclass(frozen=True)
class Arm:
    """One search on one picture.

    Attributes:
        kind: which arm it is.
        options: what it was made from.
        space: pictures out of genes.
        search: at its beginning.
        positions: of changed pixels, or of the candidates among which they move; None where all pixels may change.
    """

    kind: ArmKind
    options: ArmOptions
    space: GeneSpace
    search: Search
    positions: Positions | None

    @property
    def pixels(self) -> int:
        """Most pixels that differ from the clean picture."""
        height, width = self.space.picture.shape[:2]
        all_of_them: int = height * width
        if not self.space.sparse:
            return all_of_them
        return 1 if isinstance(self.space, OnePixel) else min(self.options.pixels, all_of_them)

    @property
    def bound(self) -> int:
        """Most that a channel of them differs by."""
        return WHITE if isinstance(self.space, OnePixel) else self.options.bound

    @property
    def identity(self) -> str:
        """SHA-256, hexadecimal, of all that its course depends on besides the captions."""
        digest = hashlib.sha256(picture_key(self.space.picture).encode())
        digest.update(self.kind.key.encode() + orjson.dumps(asdict(self.options), option=orjson.OPT_SORT_KEYS))
        if self.positions is not None:
            digest.update(self.positions.rows.tobytes() + self.positions.columns.tobytes())
        return digest.hexdigest()


Make = Callable[[NDArray[np.uint8], Positions | None, ArmOptions], tuple[GeneSpace, Search]]


@dataclass(frozen=True, slots=True)
class ArmKind:
    """A line of the table.

    Attributes:
        key: one letter; A to I as the protocol has them, J is left for an attack that sees gradients.
        title: what it does.
        guidance: which pixels; None where all may change.
        make: space and search.
        pooled: whether pixels move among all candidates, rather than being drawn once.
    """

    key: str
    title: str
    guidance: Guidance | None
    make: Make
    pooled: bool = False

    @property
    def uses_attention(self) -> bool:
        """Whether it matters to it where a captioner looks."""
        return self.guidance not in (None, "uniform")


def _evolve(picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions) -> tuple[GeneSpace, Search]:
    space = _deltas(picture, positions, options)
    return space, DifferentialEvolution(space, seed=options.seed, settings=options.evolution)


def _evolve_as_released(
    picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions
) -> tuple[GeneSpace, Search]:
    return _evolve(picture, positions, replace(options, evolution=replace(options.evolution, release_faithful=True)))


def _evolve_one_pixel(picture: NDArray[np.uint8], _: Positions | None, options: ArmOptions) -> tuple[GeneSpace, Search]:
    space = OnePixel(picture)
    return space, DifferentialEvolution(space, seed=options.seed, settings=options.evolution)


def _draw_best(
    picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions
) -> tuple[GeneSpace, Search]:
    space = _deltas(picture, positions, options)
    return space, RandomDraws(space, seed=options.seed, batch=options.evolution.population)


def _draw_once(
    picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions
) -> tuple[GeneSpace, Search]:
    space = _deltas(picture, positions, options)
    return space, RandomDraws(space, seed=options.seed, draws=1)


def _mutate(picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions) -> tuple[GeneSpace, Search]:
    space = _deltas(picture, positions, options)
    return space, RandomSearch(space, seed=options.seed, queries=options.queries, children=options.children)


def _move(picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions) -> tuple[GeneSpace, Search]:
    assert positions is not None  # noqa: S101 - the table gives this arm candidates
    count = min(options.pixels, positions.count)
    space = MovingPixels(picture, positions, count=count, bound=options.bound)
    return space, SparseRandomSearch(space, seed=options.seed, queries=options.queries, children=options.children)


def _add_noise(picture: NDArray[np.uint8], _: Positions | None, options: ArmOptions) -> tuple[GeneSpace, Search]:
    space = WholePicture(picture, bound=options.bound)
    pixels = min(options.pixels, picture.shape[0] * picture.shape[1])
    l2 = expected_l2(pixels, options.bound)
    return space, GaussianNoise(space, l2=l2, seed=options.seed, batch=options.evolution.population)


def _paint_squares(picture: NDArray[np.uint8], _: Positions | None, options: ArmOptions) -> tuple[GeneSpace, Search]:
    space = WholePicture(picture, bound=options.bound)
    return space, SquareSearch(space, seed=options.seed, queries=options.queries, children=options.children)


ARMS: Final = {
    kind.key: kind
    for kind in (
        ArmKind("A", "Attention of the sentence, differential evolution", "sentence", _evolve),
        ArmKind("B", "Attention of each word, differential evolution", "word", _evolve),
        ArmKind("C", "Any pixels, differential evolution", "uniform", _evolve),
        ArmKind("D", "Any pixels, best of random draws", "uniform", _draw_best),
        ArmKind("E", "Attention of the sentence, best of random draws", "sentence", _draw_best),
        ArmKind("F", "Least attention, differential evolution", "lowest", _evolve),
        ArmKind("G", "One pixel of any colour, differential evolution", None, _evolve_one_pixel),
        ArmKind("H", "Any pixels, a single random draw", "uniform", _draw_once),
        ArmKind("I", "The pixels with the most attention, differential evolution", "strict_top", _evolve),
        ArmKind("K", "Drawn by attention, differential evolution", "weighted", _evolve),
        ArmKind("L", "Attention of the sentence, random search", "sentence", _mutate),
        ArmKind("M", "Any pixels that move, random search (Sparse-RS)", "uniform", _move, pooled=True),
        ArmKind("N", "Gaussian noise of the same expected L2 on the whole picture", None, _add_noise),
        ArmKind("O", "Squares on the whole picture (Square Attack)", None, _paint_squares),
        ArmKind(
            "P", "Attention of the sentence, evolution with the faults of the release", "sentence", _evolve_as_released
        ),
    )
}


def make_arm(key: str, *, picture: NDArray[np.uint8], attention: NDArray[Any] | None, options: ArmOptions) -> Arm:
    """An arm at its beginning; the same arguments make the same arm.

    Args:
        key: of `ARMS`.
        picture: (h, w, 3) uint8, as it is sent.
        attention: (words, rows, columns), of any captioner; None for none.
        options: of all arms that are compared.

    Raises:
        KeyError: there is no such arm.
        ValueError: options or pictures out of their ranges.
    """
    require_picture(picture)
    kind, own = ARMS[key], replace(options, seed=_own_seed(options.seed, picture))
    height, width = picture.shape[:2]
    positions = None
    if kind.guidance is not None:
        count = height * width if kind.pooled else options.pixels
        positions = choose_positions(
            kind.guidance, maps=attention, size=(height, width), count=count, seed=own.seed, share=options.share
        )
    space, search = kind.make(picture, positions, own)
    return Arm(kind, options, space, search, positions)


def expected_l2(pixels: int, bound: int) -> float:
    """Root of the expected squared norm of k pixels whose channels are drawn evenly from -bound to bound."""
    return math.sqrt(pixels * bound * (bound + 1))


def _deltas(picture: NDArray[np.uint8], positions: Positions | None, options: ArmOptions) -> PixelDeltas:
    assert positions is not None  # noqa: S101 - the table gives these arms positions
    return PixelDeltas(picture, positions, bound=options.bound)


def _own_seed(seed: int, picture: NDArray[np.uint8]) -> int:
    mixed = np.random.SeedSequence([seed, int(picture_key(picture)[:16], 16)])
    return int(mixed.generate_state(1, np.uint64)[0])
