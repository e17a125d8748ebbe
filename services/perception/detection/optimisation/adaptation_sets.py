"""The posted sets of an adaptation: classes by name, pictures to learn from, and pictures to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.perception.detection.adaptation_schemas import AdaptationTask
from services.perception.detection.annotations.common_classes import common_classes
from services.perception.detection.annotations.importing import ImportedSet, import_pictures
from services.perception.detection.annotations.model import AnnotatedSet
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
    imported = [
        import_pictures(blobs.get(digest), pointer=f"/body/source/{number}")
        for number, digest in enumerate(task.sources)
    ]
    classes = common_classes([one.annotated for one in imported], pointer="/body/source")
    opened = [
        _open(one, one.annotated.with_classes(classes, pointer=f"/body/source/{number}"), task, pixel_limit, number)
        for number, one in enumerate(imported)
    ]
    parts = [
        _divide(one, seed=task.options.seed, pointer=f"/body/source/{number}") for number, one in enumerate(opened)
    ]
    short_side = task.options.short_side
    target = open_unlabelled(
        blobs.get(task.target), short_side=short_side, pixel_limit=pixel_limit, pointer="/body/target"
    )
    return AdaptationSets(
        classes,
        tuple(learned for learned, _ in parts),
        tuple(kept for _, kept in parts),
        target,
        None if task.holdout is None else _read_holdout(task, task.holdout, blobs, classes, pixel_limit),
    )


def _open(
    imported: ImportedSet, annotated: AnnotatedSet, task: AdaptationTask, pixel_limit: int, number: int
) -> LabelledArchive:
    pointer = f"/body/source/{number}"
    return open_labelled(
        imported, annotated, short_side=task.options.short_side, pixel_limit=pixel_limit, pointer=pointer
    )


def _read_holdout(
    task: AdaptationTask, digest: str, blobs: BlobStore, classes: Sequence[str], pixel_limit: int
) -> LabelledArchive:
    pointer = "/body/holdout"
    imported = import_pictures(blobs.get(digest), pointer=pointer)
    annotated = imported.annotated.with_classes(classes, pointer=pointer)
    return open_labelled(
        imported, annotated, short_side=task.options.short_side, pixel_limit=pixel_limit, pointer=pointer
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
