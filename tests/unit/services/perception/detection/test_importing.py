"""Archives of annotated pictures that are hostile, damaged or full of what does not belong there."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.perception.detection.annotations.importing import import_pictures
from shared.problems import ContentTooLarge, Problem, UnprocessableContent, UnsupportedMediaType
from tests.support.archives import zipped
from tests.unit.services.perception.detection.annotated_archives import POINTER, imported, picture, voc

GOOD: dict[str, bytes | str] = {"images/1.png": picture(20, 10), "labels/1.txt": "0 0.5 0.5 1 1", "classes.txt": "a"}


@pytest.mark.parametrize("name", ["labels/1.txt", "classes.txt", "set.json", "1.xml"])
def test_bombs_are_refused_before_they_are_parsed(name: str) -> None:
    bomb = (b"<annotation>" if name.endswith("xml") else b"") + b" " * 70_000_000
    data = zipped({"1.png": picture(5, 5), name: bomb} if name.endswith("xml") else {**GOOD, name: bomb})
    assert len(data) < 100_000
    with pytest.raises(ContentTooLarge, match="inflates to more than"):
        import_pictures(data, pointer=POINTER)


def test_a_picture_that_is_a_bomb_is_refused_when_it_is_read() -> None:
    found = imported({**GOOD, "images/1.png": picture(20, 10) + bytes(70_000_000)})
    with pytest.raises(ContentTooLarge, match=re.escape("'images/1.png'")):
        found.read("images/1.png")


@pytest.mark.parametrize("data", [b"", b"{}", picture(5, 5)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        import_pictures(data, pointer=POINTER)


def test_what_systems_leave_behind_is_passed_over() -> None:
    junk = {"__MACOSX/images/._1.png": b"x", "images/.DS_Store": b"x", "images/Thumbs.db": b"x", "labels/._1.txt": b"x"}
    assert list(imported({**GOOD, **junk}).annotated.pictures) == ["images/1.png"]


def test_names_that_leave_the_archive_are_only_names() -> None:
    found = imported({"../../images/1.png": picture(20, 10), "/labels/1.txt": "0 0.5 0.5 1 1", "classes.txt": "a"})
    assert found.annotated.box_count == 1
    with pytest.raises(UnprocessableContent, match=r"'images/1\.png' twice"):
        imported({**GOOD, "../images/1.png": picture(20, 10)})


def test_headers_behind_long_comments_are_found() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    Image.new("RGB", (20, 10)).save(stream, format="JPEG", exif=exif, comment=b"y" * 60_000)
    files = {"images/1.jpg": stream.getvalue(), "images/2.webp": picture(7, 8, kind="WEBP")}
    found = imported({**files, "labels/1.txt": "0 0.5 0.5 1 1", "classes.txt": "a"}).annotated
    assert [(one.width, one.height) for one in found.pictures.values()] == [(20, 10), (7, 8)]


@given(st.data())
def test_damaged_archives_raise_problems_only(data: st.DataObject) -> None:
    text = voc([("a", (1, 1, 5, 5))])
    whole = bytearray(zipped({"1.png": picture(20, 10), "1.xml": text}))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = import_pictures(bytes(whole), pointer=POINTER)
        found.read(next(iter(found.annotated.pictures)))
    except (Problem, StopIteration):
        return


def test_encrypted_archives_are_refused() -> None:
    data = bytearray(zipped({"1.png": picture(5, 5)}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnprocessableContent, match="encrypted"):
        import_pictures(bytes(data), pointer=POINTER)
