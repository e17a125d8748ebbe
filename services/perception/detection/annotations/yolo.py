"""YOLO's label files: a text file for each picture, a line for each object (Ultralytics, "Ultralytics YOLO format").

A line is `class cx cy w h`: the number of a class from 0, and centre and size of the box as shares of the picture's
width and height. A line with more columns is an outline `class x1 y1 x2 y2 x3 y3 ...`, of which the box around it is
taken. Shares are of the upright picture, as in Ultralytics' own reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from services.perception.detection.annotations.box_recording import BoxRecorder, Edges, FaultLog
from services.perception.detection.annotations.coco_outlines import edges_of_points
from services.perception.detection.annotations.model import SHOWN, AnnotatedSet, check_class_names
from services.perception.detection.annotations.picture_files import PictureFiles
from services.perception.detection.annotations.yolo_names import UnreadableNames, names_of_lines, names_of_yaml
from shared.imaging.archive import Archive
from shared.problems import UnprocessableContent, field_problem

_MOST_BYTES: Final = 4 * 1024 * 1024
_BOX_COLUMNS: Final = 5
_LEAST_OUTLINE: Final = 7
_YAML: Final = (".yaml", ".yml")
_LINES: Final = ("classes.txt", "obj.names")


@dataclass(frozen=True, slots=True)
class YoloFiles:
    """The files of a YOLO data set in an archive.

    Attributes:
        names: files that may name the classes.
        labels: label file by picture; pictures without objects may have none.
        unpaired: label files without a picture.
    """

    names: Sequence[str]
    labels: Mapping[str, str]
    unpaired: Sequence[str]


def find_yolo_files(archive: Archive, pictures: PictureFiles) -> YoloFiles:
    """Pair pictures with label files of the same name: beside them, or in `labels` where they are in `images`."""
    known = frozenset(archive.names)
    labels: dict[str, str] = {}
    for name in pictures.names:
        found = next((one for one in _label_paths(name) if one in known), None)
        if found is not None:
            labels[name] = found
    used = frozenset(labels.values())
    unpaired = [name for name in archive.names if _is_label(name) and name not in used]
    naming = [name for name in archive.names if name.endswith(_YAML) or PurePosixPath(name).name in _LINES]
    return YoloFiles(naming, labels, unpaired)


def read_yolo(archive: Archive, files: YoloFiles, *, pictures: PictureFiles, pointer: str) -> AnnotatedSet:
    """Read the labels of an archive; a picture without a label file shows none of the classes.

    Args:
        archive: with the files.
        files: of `find_yolo_files`.
        pictures: of the archive.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: classes have no names, a line is not of the form, a class has no name; says where.
        ContentTooLarge: more classes or boxes than are accepted.
    """
    names = _read_names(archive, files.names, pointer)
    owners: dict[str, str] = {}
    for picture, source in files.labels.items():
        if owners.setdefault(source, picture) != picture:
            raise field_problem(pointer, f"{source} belongs to two pictures: {owners[source]!r} and {picture!r}.")
    log = FaultLog()
    found = {}
    for image_id, name in enumerate(pictures.names, 1):
        recorder = BoxRecorder(*pictures.sides(name), log, pointer)
        if name in files.labels:
            _LabelFile(files.labels[name], names, pointer).read(archive, recorder)
        found[name] = recorder.finish(name, image_id)
    return AnnotatedSet(found, names, tuple(range(1, len(names) + 1)), log.finish())


@dataclass(frozen=True, slots=True)
class _LabelFile:
    source: str
    names: Sequence[str]
    pointer: str

    def read(self, archive: Archive, recorder: BoxRecorder) -> None:
        """Give every line to the recorder, each once: some tools write lines twice; Ultralytics drops those, too."""
        seen: set[tuple[str, ...]] = set()
        for number, line in enumerate(_text(archive, self.source, self.pointer).splitlines(), 1):
            cells = tuple(line.split())
            if not cells:
                continue
            place = f"Line {number} of {self.source}"
            if cells in seen:
                recorder.log.refuse(place, "The same line stands above it.")
                continue
            seen.add(cells)
            label = self._label(cells[0], place)
            left, top, right, bottom = self._shares(cells[1:], place)
            width, height = recorder.width, recorder.height
            recorder.add((left * width, top * height, right * width, bottom * height), label, place=place)

    def _label(self, text: str, place: str) -> int:
        # Some tools write all columns as floats.
        whole = text.partition(".")[0] if text.rstrip("0").endswith(".") else text
        if not (whole.isascii() and whole.isdigit()):
            raise self._problem(f"{place} begins with {text[:SHOWN]!r}, which is no number of a class.")
        if len(whole) > 9 or int(whole) >= len(self.names):
            raise self._problem(
                f"{place} is of class {whole[:SHOWN]}, and there are names for classes 0 to {len(self.names) - 1}."
            )
        return int(whole)

    def _shares(self, cells: Sequence[str], place: str) -> Edges:
        numbers = [self._number(cell, place) for cell in cells]
        columns = len(cells) + 1
        if columns == _BOX_COLUMNS:
            x, y, width, height = numbers
            return x - width / 2, y - height / 2, x + width / 2, y + height / 2
        if columns < _LEAST_OUTLINE or columns % 2 == 0:
            hint = " A score belongs to a detection, not to a label." if columns == _BOX_COLUMNS + 1 else ""
            raise self._problem(
                f"{place} has {columns} columns; a box has 5 (class cx cy w h), an outline a class and three or more "
                f"points.{hint}"
            )
        return edges_of_points(numbers) or (math.nan, math.nan, math.nan, math.nan)

    def _number(self, cell: str, place: str) -> float:
        try:
            if cell.isascii() and "_" not in cell:
                return float(cell)
        except ValueError:
            pass
        raise self._problem(f"{place} has {cell[:SHOWN]!r}, which is no number.")

    def _problem(self, detail: str) -> UnprocessableContent:
        return field_problem(self.pointer, detail)


def _label_paths(picture: str) -> list[str]:
    """Where the label file of a picture may be."""
    path = PurePosixPath(picture).with_suffix(".txt")
    parts = list(path.parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    moved = "/".join([*parts[: folders[-1]], "labels", *parts[folders[-1] + 1 :]]) if folders else None
    return [one for one in (moved, str(path)) if one is not None]


def _is_label(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".txt" and "labels" in path.parts[:-1] and path.name not in _LINES


def _read_names(archive: Archive, sources: Sequence[str], pointer: str) -> tuple[str, ...]:
    found: dict[str, list[str]] = {}
    for source in sources:
        text = _text(archive, source, pointer)
        try:
            names = names_of_yaml(text) if source.endswith(_YAML) else names_of_lines(text)
        except UnreadableNames as error:
            raise field_problem(pointer, f"{source} {error}.") from None
        if names is not None:
            found[source] = names
    if not found:
        raise field_problem(
            pointer, "Nothing names the classes: add data.yaml with `names`, or classes.txt with one name a line."
        )
    first = next(iter(found))
    for source, names in found.items():
        if names != found[first]:
            raise field_problem(pointer, f"{first} and {source} name different classes; send one of them.")
    return check_class_names(found[first], place=first, pointer=pointer)


def _text(archive: Archive, source: str, pointer: str) -> str:
    content = archive.read(source)
    if len(content) > _MOST_BYTES:
        raise field_problem(pointer, f"{source} has {len(content)} bytes; at most {_MOST_BYTES} are accepted.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise field_problem(pointer, f"{source} is not UTF-8 text.") from None
