"""Archives of annotated pictures in the three formats, and sets to write into them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import orjson
from hypothesis import strategies as st
from PIL import Image

from services.perception.detection.annotations.importing import ImportedSet, import_pictures
from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet, BoxFaults
from tests.support.archives import zipped

POINTER = "/body/dataset"
Box = tuple[float, float, float, float]


def picture(width: int, height: int, *, kind: str = "PNG", orientation: int | None = None) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height), "gray").save(stream, format=kind, exif=exif)
    return stream.getvalue()


def imported(files: Mapping[str, bytes | str], **options: Any) -> ImportedSet:
    return import_pictures(zipped(files), pointer=POINTER, **options)


def coco(
    images: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]], categories: Any = ((1, "cell"),)
) -> bytes:
    named = [{"id": number, "name": name} for number, name in categories]
    return orjson.dumps({"images": images, "annotations": annotations, "categories": named})


def voc(
    boxes: Sequence[tuple[str, Box]], *, size: tuple[int, int] | None = None, extra: str = "", file_name: str = "x.png"
) -> str:
    objects = "".join(
        f"<object><name>{escape(name)}</name><pose>Left</pose><part><name>head</name><bndbox><xmin>9</xmin></bndbox>"
        f"</part>{extra}<bndbox><xmax>{box[2]!r}</xmax><xmin>{box[0]!r}</xmin><ymin>{box[1]!r}</ymin>"
        f"<ymax>{box[3]!r}</ymax></bndbox></object>\n"
        for name, box in boxes
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation>\n<folder>f</folder><filename>{file_name}</filename>{stated}\n{objects}</annotation>"


@dataclass(frozen=True)
class Drawn:
    """A picture to annotate: its size, and boxes with labels."""

    width: int
    height: int
    boxes: Sequence[tuple[int, Box]] = field(default_factory=list)


def annotated_set(drawn: Sequence[Drawn], names: Sequence[str]) -> AnnotatedSet:
    pictures = {}
    for number, one in enumerate(drawn, 1):
        boxes = np.array([box for _, box in one.boxes], np.float64).reshape(-1, 4)
        pictures[f"images/{number}.png"] = AnnotatedPicture(
            name=f"images/{number}.png",
            image_id=number,
            width=one.width,
            height=one.height,
            boxes=boxes,
            labels=np.array([label for label, _ in one.boxes], np.int64),
            areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            crowd=np.zeros(len(boxes), np.bool_),
            difficult=np.zeros(len(boxes), np.bool_),
        )
    return AnnotatedSet(pictures, tuple(names), tuple(range(1, len(names) + 1)), BoxFaults())


def pictures_of(drawn: Sequence[Drawn]) -> dict[str, bytes | str]:
    return {f"images/{number}.png": picture(one.width, one.height) for number, one in enumerate(drawn, 1)}


@st.composite
def drawn_pictures(draw: st.DrawFn) -> Drawn:
    """Pictures with boxes of whole pixels."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    boxes = []
    for _ in range(draw(st.integers(0, 5))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        boxes.append((draw(st.integers(0, 2)), (float(left), float(top), float(right), float(bottom))))
    return Drawn(width, height, boxes)


def class_names() -> st.SearchStrategy[list[str]]:
    """Three names in their sorted order, of letters that XML and YAML may find difficult."""
    letters = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
    name = st.text(letters, min_size=1, max_size=12)
    return st.lists(name, min_size=3, max_size=3, unique=True).map(sorted)


def assert_same(found: AnnotatedSet, expected: AnnotatedSet) -> None:
    assert list(found.pictures) == list(expected.pictures)
    for name, one in expected.pictures.items():
        other = found.pictures[name]
        assert (other.width, other.height, other.image_id) == (one.width, one.height, one.image_id)
        np.testing.assert_allclose(other.boxes, one.boxes, rtol=0, atol=1e-9)
        np.testing.assert_allclose(other.areas, one.areas, rtol=1e-9)
        for column in ("crowd", "difficult"):
            np.testing.assert_array_equal(getattr(other, column), getattr(one, column))
        shown = [found.class_names[label] for label in other.labels]
        assert shown == [expected.class_names[label] for label in one.labels]
    assert found.faults == expected.faults
