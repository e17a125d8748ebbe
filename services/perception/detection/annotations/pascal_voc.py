"""Pascal VOC's XML, one file for each picture (VOC2012 development kit, "Annotation").

VOC counts pixels from 1 and its boxes include their last pixel, so (xmin, ymin, xmax, ymax) becomes the half-open box
(xmin - 1, ymin - 1, xmax, ymax) here, whose width is that of the development kit, xmax - xmin + 1. Some tools write
boxes that count from 0 and leave the last pixel out; a coordinate of 0 tells them, which is reported as a box that
reaches beyond its picture, and `first_pixel=0` reads them as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Literal
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from services.perception.detection.annotations.box_recording import BoxRecorder, Edges, FaultLog
from services.perception.detection.annotations.model import (
    SHOWN,
    AnnotatedPicture,
    AnnotatedSet,
    check_class_names,
    require_few_pictures,
)
from services.perception.detection.annotations.picture_files import PictureFiles
from shared.imaging.archive import Archive
from shared.problems import UnprocessableContent, field_problem

FirstPixel = Literal[0, 1]

_MOST_BYTES: Final = 1024 * 1024
_DEEPEST: Final = 32
_LINE: Final = "line"


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of a picture."""

    line: int
    name: str
    edges: Edges
    difficult: bool


@dataclass(frozen=True, slots=True)
class _Annotation:
    """One file."""

    source: str
    sides: tuple[int, int] | None
    file_name: str
    objects: Sequence[_Object]


class _Refused(Exception):
    """An XML document that is not read, and why."""


def read_pascal_voc(
    archive: Archive, sources: Sequence[str], *, pictures: PictureFiles, first_pixel: FirstPixel = 1, pointer: str
) -> AnnotatedSet:
    """Read the annotations of an archive.

    Each belongs to the picture of the same name (`Annotations/1.xml`, `JPEGImages/1.jpg`). Classes are the names of the
    objects, sorted. Tags that are not needed, such as `pose`, `part` or `truncated`, are passed over.

    Args:
        archive: with the files.
        sources: names of the XML files.
        pictures: of the archive. Those without a file of their own are left out.
        first_pixel: what the coordinates of the first pixel are; with 0, boxes are half-open.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: XML is damaged or has a document type, a number or a name is missing, a picture is missing
            or of another size; says where.
        ContentTooLarge: more pictures, classes or boxes than are accepted.
    """
    require_few_pictures(len(sources), place="The archive", pointer=pointer)
    log = FaultLog()
    seen: dict[str, int] = {}
    found: dict[str, AnnotatedPicture] = {}
    for image_id, source in enumerate(sources, 1):
        annotation = _read_file(archive.read(source), source, first_pixel, pointer)
        name = _find_picture(annotation, pictures, pointer)
        if name in found:
            raise field_problem(pointer, f"{source} is the second annotation of the picture {name!r}.")
        sides = pictures.agreed_sides(name, annotation.sides, place=source)
        found[name] = _record(annotation, BoxRecorder(*sides, log, pointer), seen).finish(name, image_id)
    names = check_class_names(sorted(seen), place="The set of annotations", pointer=pointer)
    places = {name: label for label, name in enumerate(names)}
    labels = np.array([places[name] for name in seen], np.int64)
    sorted_by_name = {name: replace(one, labels=labels[one.labels]) for name, one in found.items()}
    return AnnotatedSet(sorted_by_name, names, tuple(range(1, len(names) + 1)), log.finish())


def parse_xml(content: bytes) -> Element:
    """The tree of a document, each element with its line as the only attribute.

    A document type is refused, and with it entities of every sort: those that grow (billion laughs) and those that read
    other files. What an annotation needs is no deeper than 32 elements.

    Raises:
        ValueError: why it is not read, as the end of a sentence about the file.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = 0

    def start(tag: str, _attributes: Mapping[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise _Refused("is nested too deeply")
        builder.start(tag, {_LINE: str(parser.CurrentLineNumber)})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse_type(*_details: object) -> None:
        raise _Refused("has a document type (<!DOCTYPE ...>), which is not read; leave it out")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = refuse_type
    try:
        parser.Parse(content, True)
    except _Refused as refused:
        raise ValueError(str(refused)) from None
    except expat.ExpatError as error:
        raise ValueError(f"is no XML: {expat.ErrorString(error.code)} in line {error.lineno}") from None
    except (LookupError, ValueError):  # an encoding that Python does not know, or that has several bytes a character
        raise ValueError("is in an unknown encoding; write it in UTF-8") from None
    return builder.close()


def _read_file(content: bytes, source: str, first_pixel: FirstPixel, pointer: str) -> _Annotation:
    if len(content) > _MOST_BYTES:
        raise field_problem(pointer, f"{source} has {len(content)} bytes; at most {_MOST_BYTES} are accepted.")
    try:
        root = parse_xml(content)
    except ValueError as error:
        raise field_problem(pointer, f"{source} {error}.") from None
    if root.tag != "annotation":
        raise field_problem(pointer, f"{source} begins with <{root.tag[:SHOWN]}>, not with <annotation>.")
    reader = _Fields(source, pointer)
    objects = [reader.object(element, first_pixel) for element in root.iterfind("object")]
    return _Annotation(source, reader.sides(root), (root.findtext("filename") or "").strip(), objects)


@dataclass(frozen=True, slots=True)
class _Fields:
    """Reads the elements of one file."""

    source: str
    pointer: str

    def object(self, element: Element, first_pixel: FirstPixel) -> _Object:
        name = (element.findtext("name") or "").strip()
        box = element.find("bndbox")
        if not name or box is None:
            raise self._problem(element, "an object needs a <name> and a <bndbox>")
        left, top, right, bottom = (self._coordinate(box, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
        edges = (left - first_pixel, top - first_pixel, right, bottom)
        difficult = (element.findtext("difficult") or "").strip() == "1"
        return _Object(_line(element), name, edges, difficult)

    def sides(self, root: Element) -> tuple[int, int] | None:
        """As stated; None where the file says nothing, or 0 as some tools do."""
        size = root.find("size")
        if size is None:
            return None
        texts = [(size.findtext(tag) or "0").strip() for tag in ("width", "height")]
        if not all(text.isascii() and text.isdigit() and len(text) <= 9 for text in texts):
            raise self._problem(size, "width and height are no whole numbers")
        width, height = map(int, texts)
        return (width, height) if width and height else None

    def _coordinate(self, box: Element, tag: str) -> float:
        text = (box.findtext(tag) or "").strip()
        try:
            return float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            raise self._problem(box, f"<{tag}> is {text[:SHOWN]!r}, which is no number") from None

    def _problem(self, element: Element, detail: str) -> UnprocessableContent:
        return field_problem(self.pointer, f"Line {_line(element)} of {self.source}: {detail}.")


def _line(element: Element) -> int:
    return int(element.attrib[_LINE])


def _find_picture(annotation: _Annotation, pictures: PictureFiles, pointer: str) -> str:
    stem = PurePosixPath(annotation.source).stem
    name = pictures.find_by_stem(stem, near=annotation.source, file_name=annotation.file_name)
    if name is None and annotation.file_name:
        name = pictures.find(annotation.file_name, near=annotation.source)
    if name is None:
        raise field_problem(
            pointer, f"{annotation.source} belongs to no picture: the archive holds none called {stem[:SHOWN]!r}."
        )
    return name


def _record(annotation: _Annotation, recorder: BoxRecorder, seen: dict[str, int]) -> BoxRecorder:
    """Give the objects to the recorder, with labels in the order in which names are first seen."""
    for one in annotation.objects:
        label = seen.setdefault(one.name, len(seen))
        place = f"Line {one.line} of {annotation.source}"
        recorder.add(one.edges, label, place=place, difficult=one.difficult)
    return recorder
