"""A ZIP of annotated pictures, in whichever of the three formats, to one AnnotatedSet.

Nothing is written to disk, and the bytes of a picture are inflated when they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.perception.detection.annotations.coco import read_coco
from services.perception.detection.annotations.model import MOST_PICTURES, SHOWN, AnnotatedSet
from services.perception.detection.annotations.pascal_voc import FirstPixel, read_pascal_voc
from services.perception.detection.annotations.picture_files import PictureFiles
from services.perception.detection.annotations.yolo import find_yolo_files, read_yolo
from shared.imaging.archive import Archive, ArchiveLimits
from shared.problems import field_problem

LIMITS: Final = ArchiveLimits(entries=2 * MOST_PICTURES + 100, total_bytes=4 * 1024**3)
"""A picture and its annotation each, and a few files beside them."""

_COCO_KEYS: Final = (b'"images"', b'"annotations"')
_VOC_START: Final = re.compile(rb"<annotation[\s/>]")
_START: Final = 4096


class AnnotationFormat(StrEnum):
    """How boxes are written down."""

    COCO = "coco"
    PASCAL_VOC = "pascal_voc"
    YOLO = "yolo"


@dataclass(frozen=True, slots=True, eq=False)
class ImportedSet:
    """Annotated pictures of an archive.

    Attributes:
        annotated: the boxes, by name of the picture.
        format: that they were written in.
        unused_pictures: pictures of the archive that the annotations do not mention.
        unused_labels: label files of YOLO that belong to no picture.
    """

    annotated: AnnotatedSet
    format: AnnotationFormat
    unused_pictures: int
    unused_labels: int
    _archive: Archive

    def read(self, name: str) -> bytes:
        """The encoded picture of a name.

        Raises:
            KeyError: there is none.
            ContentTooLarge: the archive inflates to too much.
            UnprocessableContent: it is damaged.
        """
        return self._archive.read(name)


def import_pictures(
    data: bytes, *, pointer: str, annotation_format: AnnotationFormat | None = None, first_pixel: FirstPixel = 1
) -> ImportedSet:
    """Read an archive, without decoding its pictures.

    Args:
        data: ZIP. COCO: pictures and one JSON file. Pascal VOC: pictures and an XML file for each. YOLO: pictures, a
            text file for each, and the names of the classes.
        pointer: the field to blame.
        annotation_format: to choose among several; the one that the archive holds if None.
        first_pixel: as `read_pascal_voc`.

    Raises:
        UnsupportedMediaType: not a ZIP file.
        ContentTooLarge: more files, bytes, pictures, classes or boxes than are accepted.
        UnprocessableContent: no annotations, or of several formats; or they are wrong, which names file and line.
    """
    archive = Archive(data, LIMITS, pointer=pointer)
    pictures = PictureFiles(archive, pointer=pointer)
    evidence = _evidence(archive, pictures)
    chosen = _choose(evidence, annotation_format, pointer)
    unpaired: Sequence[str] = ()
    match chosen:
        case AnnotationFormat.COCO:
            source = _only(evidence[chosen], pointer)
            annotated = read_coco(archive.read(source), source=source, pictures=pictures, pointer=pointer)
        case AnnotationFormat.PASCAL_VOC:
            annotated = read_pascal_voc(
                archive, evidence[chosen], pictures=pictures, first_pixel=first_pixel, pointer=pointer
            )
        case AnnotationFormat.YOLO:
            files = find_yolo_files(archive, pictures)
            unpaired = files.unpaired
            annotated = read_yolo(archive, files, pictures=pictures, pointer=pointer)
    return ImportedSet(annotated, chosen, len(pictures.names) - len(annotated.pictures), len(unpaired), archive)


def _evidence(archive: Archive, pictures: PictureFiles) -> Mapping[AnnotationFormat, Sequence[str]]:
    """Files of each format."""
    tables = [name for name in archive.names if name.lower().endswith(".json")]
    trees = [name for name in archive.names if name.lower().endswith(".xml")]
    files = find_yolo_files(archive, pictures)
    return {
        AnnotationFormat.COCO: [name for name in tables if _has_keys(archive.read(name))],
        AnnotationFormat.PASCAL_VOC: [name for name in trees if _VOC_START.search(archive.read_start(name, _START))],
        AnnotationFormat.YOLO: [*files.labels.values(), *files.unpaired],
    }


def _has_keys(content: bytes) -> bool:
    return all(key in content for key in _COCO_KEYS)


def _choose(
    evidence: Mapping[AnnotationFormat, Sequence[str]], wanted: AnnotationFormat | None, pointer: str
) -> AnnotationFormat:
    present = [one for one in AnnotationFormat if evidence[one]]
    if wanted is not None and wanted in present:
        return wanted
    if wanted is not None:
        raise field_problem(pointer, f"The archive holds no annotations of the format {wanted}.")
    if not present:
        raise field_problem(
            pointer,
            "The archive holds pictures, but no annotations: a COCO file (.json with `images`, `annotations` and "
            "`categories`), Pascal VOC files (.xml with <annotation>), or YOLO labels (.txt named like the pictures).",
        )
    if len(present) > 1:
        found = ", ".join(f"{one} ({evidence[one][0][-SHOWN:]})" for one in present)
        raise field_problem(pointer, f"The archive holds annotations of several formats: {found}. Say which to read.")
    return present[0]


def _only(sources: Sequence[str], pointer: str) -> str:
    if len(sources) > 1:
        found = ", ".join(repr(source[-SHOWN:]) for source in sources[:5])
        raise field_problem(
            pointer, f"The archive holds {len(sources)} COCO files: {found}. Send the one that belongs to the pictures."
        )
    return sources[0]
