"""The annotated pictures of an evaluation: read when it is asked for, and again by its job."""

from __future__ import annotations

from dataclasses import dataclass

from services.perception.detection.annotations.class_alignment import AlignedSet, align_classes
from services.perception.detection.annotations.importing import AnnotationFormat, ImportedSet, import_pictures
from services.perception.detection.annotations.pascal_voc import FirstPixel
from services.perception.detection.evaluation_schemas import MAPPING_POINTER, POINTER, ClassMapping
from services.perception.detection.measured_sets import require_measurable
from shared.detectors.roles import DetectorRole


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationData:
    """What a detector is measured on.

    Attributes:
        imported: the archive.
        aligned: its boxes, with the detector's labels.
    """

    imported: ImportedSet
    aligned: AlignedSet


def read_data(
    archive: bytes,
    role: DetectorRole,
    *,
    annotation_format: AnnotationFormat | None,
    first_pixel: FirstPixel,
    class_mapping: ClassMapping,
) -> EvaluationData:
    """Read an archive, without decoding its pictures. Blocks.

    Args:
        archive: ZIP.
        role: of the detector.
        annotation_format: None for the one that the archive holds.
        first_pixel: as `import_pictures`.
        class_mapping: names of the detector's classes by names of the set's.

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `import_pictures` and `align_classes`.
    """
    imported = import_pictures(archive, pointer=POINTER, annotation_format=annotation_format, first_pixel=first_pixel)
    require_measurable(imported, pointer=POINTER)
    aligned = align_classes(
        imported.annotated, role.classes, mapping=class_mapping, pointer=POINTER, mapping_pointer=MAPPING_POINTER
    )
    return EvaluationData(imported, aligned)
