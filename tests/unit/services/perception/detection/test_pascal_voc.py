"""Pascal VOC's XML: pixels from 1, difficult objects, and documents that are attacks."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.perception.detection.annotations.pascal_voc import parse_xml
from shared.problems import ContentTooLarge, Problem, UnprocessableContent
from tests.unit.services.perception.detection.annotated_archives import (
    Drawn,
    annotated_set,
    assert_same,
    class_names,
    drawn_pictures,
    imported,
    picture,
    pictures_of,
    voc,
)

LAUGHS = '<!DOCTYPE a [<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{index + 1} "{f"&a{index};" * 10}">' for index in range(9)
)
OUTSIDE = '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">'
FILE = '<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'


def one(xml: str | bytes, width: int = 20, height: int = 10) -> dict[str, bytes | str]:
    return {"set/JPEGImages/1.png": picture(width, height), "set/Annotations/1.xml": xml}


@given(st.lists(drawn_pictures(), min_size=1, max_size=4), class_names())
def test_what_was_written_is_read(drawn: list[Drawn], names: list[str]) -> None:
    assume(any(one.boxes for one in drawn))
    expected = annotated_set(drawn, names)
    files = pictures_of(drawn)
    for number, one in enumerate(drawn, 1):
        boxes = [(names[label], (x + 1, y + 1, right, bottom)) for label, (x, y, right, bottom) in one.boxes]
        files[f"annotations/{number}.xml"] = voc(boxes, size=(one.width, one.height))
    found = imported(files)
    assert_same(found.annotated, expected)
    assert found.format == "pascal_voc"


def test_the_first_pixel_is_1_and_the_last_belongs_to_the_box() -> None:
    whole = voc([("cell", (1, 1, 20, 10)), ("cell", (3, 4, 3, 4))])
    found = imported(one(whole)).annotated
    assert found.pictures["set/JPEGImages/1.png"].boxes.tolist() == [[0, 0, 20, 10], [2, 3, 3, 4]]
    assert found.faults.clipped == 0


def test_boxes_that_count_from_0_are_reported_and_can_be_read() -> None:
    files = one(voc([("cell", (0, 0, 20, 10))]))
    shifted = imported(files).annotated
    assert shifted.pictures["set/JPEGImages/1.png"].boxes.tolist() == [[0, 0, 20, 10]]
    assert (shifted.faults.clipped, shifted.faults.shown[0].place) == (1, "Line 3 of set/Annotations/1.xml")
    assert imported(files, first_pixel=0).annotated.faults.clipped == 0
    inner = one(voc([("cell", (2, 3, 7, 8))]))
    assert imported(inner, first_pixel=0).annotated.pictures["set/JPEGImages/1.png"].boxes.tolist() == [[2, 3, 7, 8]]


def test_difficult_objects_are_marked() -> None:
    text = voc([("cell", (1, 1, 5, 5))], extra="<difficult>1</difficult><truncated>1</truncated><strange/>")
    assert imported(one(text)).annotated.pictures["set/JPEGImages/1.png"].difficult.tolist() == [True]


def test_sizes_of_0_mean_nothing_and_others_have_to_agree() -> None:
    boxes = [("cell", (1.0, 1.0, 5.0, 5.0))]
    assert imported(one(voc(boxes, size=(0, 0)))).annotated.pictures["set/JPEGImages/1.png"].width == 20
    with pytest.raises(UnprocessableContent, match=r"'set/JPEGImages/1.png' is 10 x 20 pixels; it is 20 x 10"):
        imported(one(voc(boxes, size=(10, 20))))


def test_pictures_of_one_name_are_told_apart_by_folders_and_endings() -> None:
    text = voc([("cell", (1, 1, 2, 2))], file_name="1.png")
    files: dict[str, bytes | str] = {f"{part}/JPEGImages/1.png": picture(5, 5) for part in ("train", "test")}
    files |= {"train/Annotations/1.xml": text, "test/Annotations/1.xml": text}
    assert sorted(imported(files).annotated.pictures) == ["test/JPEGImages/1.png", "train/JPEGImages/1.png"]
    twins: dict[str, bytes | str] = {"1.png": picture(5, 5), "1.jpg": picture(5, 5, kind="JPEG"), "1.xml": text}
    assert list(imported(twins).annotated.pictures) == ["1.png"]
    assert imported(twins).unused_pictures == 1
    with pytest.raises(UnprocessableContent, match="may be"):
        imported({**twins, "1.xml": text.replace("1.png", "1")})


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (voc([("cell", (1, 1, 5, 5))]).replace("</annotation>", ""), "1.xml is no XML: no element found in line 4"),
        (LAUGHS + "]><annotation>&a9;</annotation>", "has a document type"),
        (OUTSIDE + "<annotation/>", "has a document type"),
        (FILE + "<annotation><filename>&secret;</filename></annotation>", "has a document type"),
        ("<annotation>&undefined;</annotation>", "undefined entity in line 1"),
        (b"<annotation>\xff</annotation>", "not well-formed (invalid token) in line 1"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "unknown encoding"),
        ("<annotation>" + "<a>" * 50 + "</a>" * 50 + "</annotation>", "nested too deeply"),
        ("<annotation >" + " " * (1024 * 1024) + "</annotation>", "at most 1048576"),
        ("<a><annotation></annotation></a>", "begins with <a>"),
        ("<annotation><object><name>a</name></object></annotation>", "Line 1 of set/Annotations/1.xml: an object"),
        ("<annotation><object><bndbox/></object></annotation>", "an object needs"),
        (voc([("cell", (1, 1, 5, 5))]).replace("<xmax>5", "<xmax>wide"), "<xmax> is 'wide', which is no number"),
        (voc([("cell", (1, 1, 5, 5))]).replace("<xmax>5</xmax>", ""), "<xmax> is ''"),
        (voc([("cell", (1, 1, 5, 5))], size=(-3, 5)), "width and height are no whole numbers"),
        (voc([]), "names no classes"),
    ],
)  # fmt: skip
def test_documents_that_are_refused(xml: str | bytes, said: str) -> None:
    with pytest.raises(UnprocessableContent, match=re.escape(said)):
        imported(one(xml))


def test_growing_entities_take_no_time() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="document type"):
        parse_xml((LAUGHS + "]><annotation>&a9;</annotation>").encode())
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("number", ["nan", "inf", "-1e999", "1e308", "-5", "\N{ARABIC-INDIC DIGIT FIVE}", "1_0"])
def test_numbers_that_make_no_box_are_reported(number: str) -> None:
    text = voc([("cell", (1, 1, 5, 5)), ("cell", (1, 1, 5, 5))])
    head, _, tail = text.rpartition("<xmin>1</xmin>")
    found = imported(one(f"{head}<xmin>{number}</xmin>{tail}")).annotated
    assert found.faults.clipped + found.faults.refused == 1
    assert found.faults.shown[0].place == "Line 4 of set/Annotations/1.xml"


def test_missing_pictures_are_named() -> None:
    files = one(voc([("cell", (1, 1, 5, 5))]))
    with pytest.raises(UnprocessableContent, match=r"'?set/Annotations/2.xml'? belongs to no picture"):
        imported({**files, "set/Annotations/2.xml": voc([])})
    with pytest.raises(UnprocessableContent, match="second annotation"):
        imported({**files, "set/other/1.xml": voc([("cell", (1, 1, 5, 5))])})


def test_boxes_are_bounded() -> None:
    with pytest.raises(ContentTooLarge, match=r"Line 1003 of .* more than the 1000"):
        imported(one(voc([("cell", (1, 1, 5, 5))] * 1001)))


def test_other_encodings_are_read() -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + voc([("Stra\N{LATIN SMALL LETTER SHARP S}e", (1, 1, 5, 5))])
    assert imported(one(text.encode("latin-1"))).annotated.class_names == ("Stra\N{LATIN SMALL LETTER SHARP S}e",)


@given(st.binary(max_size=60), st.integers(0, 300))
def test_damaged_documents_raise_problems_only(junk: bytes, place: int) -> None:
    whole = voc([("cell", (1, 1, 5, 5))], size=(20, 10)).encode()
    try:
        imported(one(whole[:place] + b"<annotation>"[: place % 13] + junk + whole[place:]))
    except Problem as problem:
        assert problem.status in {413, 422}
