"""The annotated sets of an adaptation: read when it is asked for, and again by its job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.perception.detection.annotations.common_classes import common_classes
from services.perception.detection.annotations.importing import ImportedSet, import_pictures
from services.perception.detection.annotations.model import AnnotatedSet
from services.perception.detection.measured_sets import require_measurable

SOURCE_POINTER: Final = "/body/source"
TARGET_POINTER: Final = "/body/target"
HOLDOUT_POINTER: Final = "/body/holdout"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """An annotated archive with the labels of the detector that is to be made.

    Attributes:
        imported: the archive.
        annotated: its boxes.
        pointer: the field that it was posted in.
    """

    imported: ImportedSet
    annotated: AnnotatedSet
    pointer: str


@dataclass(frozen=True, slots=True, eq=False)
class AdaptationData:
    """All that is labelled.

    Attributes:
        classes: by label.
        sources: that are learned from.
        holdout: of the target, that is measured with.
    """

    classes: tuple[str, ...]
    sources: tuple[LabelledSet, ...]
    holdout: LabelledSet | None


def read_data(sources: Sequence[bytes], holdout: bytes | None) -> AdaptationData:
    """Read archives, without decoding their pictures. Blocks.

    Args:
        sources: ZIPs.
        holdout: ZIP.

    Raises:
        UnsupportedMediaType: a file is no ZIP.
        ContentTooLarge: one holds too much.
        UnprocessableContent: annotations are wrong, or sets have different classes.
    """
    pointers = [f"{SOURCE_POINTER}/{number}" for number in range(len(sources))]
    imported = [import_pictures(data, pointer=pointer) for data, pointer in zip(sources, pointers, strict=True)]
    classes = common_classes([one.annotated for one in imported], pointer=SOURCE_POINTER)
    labelled = [_labelled(one, classes, pointer) for one, pointer in zip(imported, pointers, strict=True)]
    if holdout is None:
        return AdaptationData(classes, tuple(labelled), None)
    measured = import_pictures(holdout, pointer=HOLDOUT_POINTER)
    require_measurable(measured, pointer=HOLDOUT_POINTER)
    return AdaptationData(classes, tuple(labelled), _labelled(measured, classes, HOLDOUT_POINTER))


def _labelled(imported: ImportedSet, classes: Sequence[str], pointer: str) -> LabelledSet:
    return LabelledSet(imported, imported.annotated.with_classes(classes, pointer=pointer), pointer)
