"""The posted sets of an adaptation: classes by name, pictures to learn from, and pictures to measure with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.perception.detection.adaptation_data import TARGET_POINTER, read_data
from services.perception.detection.adaptation_schemas import AdaptationTask
from services.perception.detection.optimisation.archived_pictures import (
    ArchivedPictures,
    LabelledArchive,
    open_labelled,
    open_unlabelled,
)
from shared.problems import field_problem
from shared.storage.blobs import BlobStore

KEPT_SHARE: Final = 0.1
"""Of each source, which is measured with and not learned from."""
MOST_KEPT: Final = 40
"""Pictures of a source that are measured with."""
_LEAST_PICTURES: Final = 2


@dataclass(frozen=True, slots=True)
class AdaptationSets:
    """What a job works with.

    Attributes:
        classes: by label.
        sources: labelled pictures to learn from, a set for each source.
        kept: pictures of the sources that are not learned from, a set for each.
        target: pictures of the target.
        holdout: labelled pictures of the target, to measure with.
    """

    classes: tuple[str, ...]
    sources: tuple[LabelledArchive, ...]
    kept: tuple[LabelledArchive, ...]
    target: ArchivedPictures
    holdout: LabelledArchive | None


def read_sets(task: AdaptationTask, blobs: BlobStore, *, pixel_limit: int) -> AdaptationSets:
    """Read what was posted. Blocks.

    Raises:
        UnsupportedMediaType: a file is no ZIP.
        ContentTooLarge: one holds too much.
        UnprocessableContent: annotations are wrong, sources have different classes, or a set is too small.
    """
    data = read_data(
        [blobs.get(digest) for digest in task.sources], None if task.holdout is None else blobs.get(task.holdout)
    )
    seed, limits = task.options.seed, {"short_side": task.options.short_side, "pixel_limit": pixel_limit}
    parts = [_divide(open_labelled(one, **limits), seed=seed, pointer=one.pointer) for one in data.sources]
    return AdaptationSets(
        data.classes,
        tuple(learned for learned, _ in parts),
        tuple(kept for _, kept in parts),
        open_unlabelled(blobs.get(task.target), **limits, pointer=TARGET_POINTER),
        None if data.holdout is None else open_labelled(data.holdout, **limits),
    )


def _divide(whole: LabelledArchive, *, seed: int, pointer: str) -> tuple[LabelledArchive, LabelledArchive]:
    """What is learned from, and what is measured with: drawn by the seed.

    Raises:
        UnprocessableContent: there are too few pictures for both.
    """
    names = whole.images.names
    if len(names) < _LEAST_PICTURES:
        raise field_problem(pointer, f"A set of {len(names)} pictures cannot be divided: {_LEAST_PICTURES} or more.")
    count = min(MOST_KEPT, max(1, round(KEPT_SHARE * len(names))))
    kept = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[:count].tolist()}
    return whole.part([name for name in names if name not in kept]), whole.part(sorted(kept))
