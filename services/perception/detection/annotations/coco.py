"""COCO's JSON of annotated pictures (https://cocodataset.org/#format-data).

Boxes are [left, top, width, height] in pixels from 0. Ids of pictures and categories are whatever the file says: COCO's
own categories are 1 to 90 with gaps, so labels are places in the order of category ids, and the ids are kept beside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from services.perception.detection.annotations.box_recording import BoxRecorder, Edges, FaultLog
from services.perception.detection.annotations.coco_outlines import outline_edges
from services.perception.detection.annotations.model import (
    SHOWN,
    AnnotatedSet,
    ImageId,
    check_class_names,
    require_few_pictures,
    too_large,
)
from services.perception.detection.annotations.picture_files import PictureFiles
from shared.problems import UnprocessableContent, field_problem

_MOST_PARTS: Final = 2_000_000
_MOST_VALUES: Final = 12_000_000
"""Lists and objects, and values in them: what 64 MB of honest annotations have. Dishonest ones would take 20 times as
much memory as they have bytes."""

_LARGEST_ID: Final = 2**53
_LONGEST_SIDE: Final = 1_000_000


def read_coco(content: bytes, *, source: str, pictures: PictureFiles | None = None, pointer: str) -> AnnotatedSet:
    """Read a data set.

    Args:
        content: JSON with `images`, `annotations` and `categories`.
        source: name of the file.
        pictures: that belong to it, each image one; without them names and sizes are what the file states.
        pointer: the field to blame.

    Returns:
        The set; with `pictures`, names are those of the archive.

    Raises:
        UnprocessableContent: it is no such JSON, ids or names occur twice or do not exist, a picture is missing or of
            another size; says where.
        ContentTooLarge: more pictures, classes or boxes than are accepted.
    """
    reader = _Reader(_parse(content, source, pointer), source, pictures, pointer)
    labels, names, ids = reader.read_categories()
    images = reader.read_images()
    log = FaultLog()
    recorders = {one.image_id: BoxRecorder(one.width, one.height, log, pointer) for one in images}
    reader.read_boxes(recorders, labels, log)
    found = {one.name: recorders[one.image_id].finish(one.name, one.image_id) for one in images}
    return AnnotatedSet(found, names, ids, log.finish())


@dataclass(frozen=True, slots=True)
class _Image:
    """An entry of `images`."""

    image_id: ImageId
    name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the parts of one document."""

    document: Mapping[str, Any]
    source: str
    pictures: PictureFiles | None
    pointer: str

    def read_categories(self) -> tuple[dict[int, int], tuple[str, ...], tuple[int, ...]]:
        """Labels by category id, names and ids by label."""
        names: dict[int, str] = {}
        for place, entry in self._entries("categories"):
            number, name = entry.get("id"), entry.get("name")
            if not _is_whole(number) or not isinstance(name, str):
                raise self._problem(place, "needs a whole number as `id` and a text as `name`.")
            if number in names:
                raise self._problem(place, f"has the id {number} of {names[number][:SHOWN]!r}.")
            names[number] = name
        ids = tuple(sorted(names))
        ordered = check_class_names([names[one] for one in ids], place=self.source, pointer=self.pointer)
        return {number: label for label, number in enumerate(ids)}, ordered, ids

    def read_images(self) -> list[_Image]:
        """All images, each with its picture."""
        require_few_pictures(len(self._list("images")), place=self.source, pointer=self.pointer)
        found: list[_Image] = []
        ids: set[ImageId] = set()
        names: set[str] = set()
        absent: list[str] = []
        for place, entry in self._entries("images"):
            image_id, stated = self._identity(place, entry)
            name = self.pictures.find(stated, near=self.source) if self.pictures else stated
            if name is None:
                absent.append(stated)
                continue
            if image_id in ids or name in names:
                raise self._problem(place, f"has an id or a picture that is taken: {image_id!r}, {name[:SHOWN]!r}.")
            ids.add(image_id)
            names.add(name)
            found.append(_Image(image_id, name, *self._sides(place, entry, name)))
        if absent:
            raise field_problem(
                self.pointer,
                f"{self.source} lists {len(absent)} pictures that the archive does not hold, such as "
                f"{absent[0][:SHOWN]!r}; add them, or take them out of `images` and `annotations`.",
            )
        return found

    def read_boxes(self, recorders: Mapping[ImageId, BoxRecorder], labels: Mapping[int, int], log: FaultLog) -> None:
        """Give every annotation to the recorder of its picture."""
        for place, entry in self._entries("annotations"):
            image_id, category = entry.get("image_id"), entry.get("category_id")
            if not _is_id(image_id) or image_id not in recorders:
                raise self._problem(place, f"is of the image {_shown(image_id)}, which `images` does not list.")
            if not _is_whole(category) or category not in labels:
                raise self._problem(place, f"is of the category {_shown(category)}, which `categories` does not list.")
            recorder = recorders[image_id]
            edges = self._edges(place, entry, recorder)
            if edges is None:
                log.refuse(f"{place} of {self.source}", "There is neither a box nor an outline that can be read.")
                continue
            recorder.add(
                edges,
                labels[category],
                place=f"{place} of {self.source}",
                area=_number(entry.get("area")),
                crowd=entry.get("iscrowd") == 1,
                difficult=entry.get("difficult") == 1,
            )

    def _list(self, key: str) -> list[Any]:
        entries = self.document.get(key)
        if not isinstance(entries, list):
            raise field_problem(self.pointer, f"{self.source} has no list `{key}`, which a COCO data set needs.")
        return entries

    def _entries(self, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for index, entry in enumerate(self._list(key)):
            place = f"{key}[{index}]"
            if not isinstance(entry, dict):
                raise self._problem(place, "is no object.")
            yield place, entry

    def _identity(self, place: str, entry: Mapping[str, Any]) -> tuple[ImageId, str]:
        image_id, name = entry.get("id"), entry.get("file_name")
        if not _is_id(image_id) or not isinstance(name, str) or not name:
            raise self._problem(place, "needs an `id` (a whole number, or text) and a `file_name`.")
        return image_id, name

    def _sides(self, place: str, entry: Mapping[str, Any], name: str) -> tuple[int, int]:
        width, height = (_number(entry.get(key)) for key in ("width", "height"))
        stated = None
        if width and height:
            if not all(1 <= side <= _LONGEST_SIDE and side.is_integer() for side in (width, height)):
                raise self._problem(place, f"states {width:g} x {height:g} pixels.")
            stated = int(width), int(height)
        if self.pictures:
            return self.pictures.agreed_sides(name, stated, place=f"{place} of {self.source}")
        if stated is None:
            raise self._problem(place, "states no `width` and `height`.")
        return stated

    def _edges(self, place: str, entry: Mapping[str, Any], recorder: BoxRecorder) -> Edges | None:
        box = entry.get("bbox")
        if not box:
            return outline_edges(entry.get("segmentation"), width=recorder.width, height=recorder.height)
        numbers = [_number(one) for one in box] if isinstance(box, list) else []
        if len(numbers) != 4:
            raise self._problem(place, "has a `bbox` that is not [left, top, width, height].")
        left, top, width, height = (math.nan if one is None else one for one in numbers)
        return left, top, left + width, top + height

    def _problem(self, place: str, detail: str) -> UnprocessableContent:
        return field_problem(self.pointer, f"{place} of {self.source} {detail}")


def _parse(content: bytes, source: str, pointer: str) -> Mapping[str, Any]:
    if content.count(b"{") + content.count(b"[") > _MOST_PARTS or content.count(b",") > _MOST_VALUES:
        raise too_large(pointer, f"{source} has more lists, objects or numbers than are accepted; split the set.")
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise field_problem(pointer, f"{source} is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise field_problem(pointer, f"{source} is no JSON: {error.msg} in line {error.lineno}.") from None
    except (RecursionError, ValueError):
        raise field_problem(pointer, f"{source} is nested too deeply, or has a number of too many digits.") from None
    if isinstance(document, list):
        raise field_problem(pointer, f"{source} is a list, as results are; a data set is an object with `images`.")
    if not isinstance(document, dict):
        raise field_problem(pointer, f"{source} is no object with `images`, `annotations` and `categories`.")
    return document


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_ID


def _is_id(value: Any) -> TypeGuard[ImageId]:
    return _is_whole(value) or (isinstance(value, str) and 0 < len(value) <= SHOWN)


def _number(value: Any) -> float | None:
    """As a float, infinite where it is too large for one; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: Any) -> str:
    return repr(value)[:SHOWN]
