"""YOLO's labels and the names beside them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.perception.detection.annotations.yolo_names import UnreadableNames, names_of_lines, names_of_yaml
from shared.problems import ContentTooLarge, Problem, UnprocessableContent
from tests.unit.services.perception.detection.annotated_archives import (
    Drawn,
    annotated_set,
    assert_same,
    class_names,
    coco,
    drawn_pictures,
    imported,
    picture,
    pictures_of,
)

yaml: Any = pytest.importorskip("yaml")

NAMES = "names: [RBC, WBC, Platelets]\n"


def one(labels: str | bytes, names: str = NAMES) -> dict[str, bytes | str]:
    return {"images/1.png": picture(20, 10), "labels/1.txt": labels, "data.yaml": names}


def boxes_of(labels: str) -> list[list[float]]:
    found: list[list[float]] = imported(one(labels)).annotated.pictures["images/1.png"].boxes.tolist()
    return found


@example(drawn=[Drawn(1, 1, [])], names=["0", "00", "0¡ĀĀĀĀ𐀀𐀀𐀀𐀀𐀀0"], flow=False)  # written over two lines
@example(drawn=[Drawn(1, 1, [])], names=["0", "'b' " + "a " * 60 + "''", "- " + "c d: " * 30 + "e"], flow=False)
@given(st.lists(drawn_pictures(), min_size=1, max_size=4), class_names(), st.booleans())
def test_what_was_written_is_read(drawn: list[Drawn], names: list[str], flow: bool) -> None:
    drawn = [replace(one, boxes=list(dict.fromkeys(one.boxes))) for one in drawn]  # a line twice is read once
    expected = annotated_set(drawn, names)
    files = pictures_of(drawn)
    for number, one in enumerate(drawn, 1):
        lines = []
        for label, (left, top, right, bottom) in one.boxes:
            shares = ((left + right) / 2 / one.width, (top + bottom) / 2 / one.height)
            lines.append(f"{label} {shares[0]} {shares[1]} {(right - left) / one.width} {(bottom - top) / one.height}")
        if lines:
            files[f"labels/{number}.txt"] = "\n".join(lines)
    style = None if flow else False
    described = {"train": "../images", "names": names, "nc": 3}
    files["data.yaml"] = yaml.safe_dump(described, default_flow_style=style)
    files["labels/none.txt"] = ""
    found = imported(files)
    assert_same(found.annotated, expected)
    assert (found.format, found.unused_labels) == ("yolo", 1)


@pytest.mark.parametrize(
    "names",
    [
        "a/train/images/1.png a/train/labels/1.txt a/data.yaml",
        "images/train/1.png labels/train/1.txt data.yml",
        "obj_train_data/1.png obj_train_data/1.txt obj.names",
        "1.png 1.txt classes.txt",
        "images/images/1.png images/labels/1.txt classes.txt",
        "images/1.png labels/1.txt labels/classes.txt",
    ],
)
def test_layouts(names: str) -> None:
    shown, labels, naming = names.split()
    text = NAMES if "data" in naming else "RBC\nWBC\r\nPlatelets\n\n"
    found = imported({shown: picture(20, 10), labels: "2 0.5 0.5 1 1\n", naming: text, "README.dataset.txt": "hello"})
    assert found.annotated.class_names == ("RBC", "WBC", "Platelets")
    assert found.annotated.pictures[shown].labels.tolist() == [2]
    assert found.annotated.pictures[shown].boxes.tolist() == [[0, 0, 20, 10]]


def test_outlines_become_boxes_and_classes_may_be_floats() -> None:
    assert boxes_of("1.0 0.1 0.2 0.5 0.2 0.3 0.9\n0 0.1 0.2 0.5 0.2 0.3 0.9 0.1 0.5\n") == [[2, 2, 10, 9]] * 2


def test_pictures_without_labels_show_nothing() -> None:
    found = imported({**one("0 0.5 0.5 1 1"), "images/2.png": picture(5, 5)}).annotated
    assert found.pictures["images/2.png"].boxes.shape == (0, 4)
    assert found.pictures["images/2.png"].image_id == 2


def test_shares_are_of_the_upright_picture() -> None:
    files = one("0 0.5 0.5 1 1")
    files["images/1.png"] = picture(20, 10, kind="JPEG", orientation=6)
    assert imported(files).annotated.pictures["images/1.png"].boxes.tolist() == [[0, 0, 10, 20]]


def test_boxes_that_make_no_sense_are_reported_by_line() -> None:
    labels = "0 0.5 0.5 1.5 1\n\n0 nan 0.5 1 1\n0 0.5 0.5 0 1\n0 0.5 0.5 -1 1\n0 300 200 40 50\n0 0.5 0.5 1.000001 1\n"
    found = imported(one(labels + "0 inf 0.5 1 1\n0 0.1 0.1 0.2 0.2 nan 0.3\n")).annotated
    assert (found.faults.clipped, found.faults.refused) == (1, 6)
    assert [fault.place.split()[1] for fault in found.faults.shown] == ["1", "3", "4", "5", "6", "8", "9"]
    assert "outside of the picture of 20 x 10" in found.faults.shown[4].detail
    assert len(found.pictures["images/1.png"].boxes) == 2


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("0 0.5 0.5 1 1\n3 0.5 0.5 1 1", "Line 2 of labels/1.txt is of class 3, and there are names for"),
        ("1000000000 0.5 0.5 1 1", "is of class 1000000000"),
        ("9" * 5000 + " 0.5 0.5 1 1", "is of class 9999"),
        ("-1 0.5 0.5 1 1", "begins with '-1'"),
        ("RBC 0.5 0.5 1 1", "begins with 'RBC'"),
        ("0.5 0.5 0.5 1 1", "begins with '0.5'"),
        ("0 0.5 0.5 1", "has 4 columns"),
        ("0", "has 1 columns"),
        ("0 0.5 0.5 1 1 0.9", "has 6 columns; a box has 5 (class cx cy w h), an outline a class and three or more"),
        ("0 0.5 0.5 1 1 0.9 0.9 0.9", "has 8 columns"),
        ("0 0.5 0,5 1 1", "'0,5', which is no number"),
        ("0 0.5 1_0 1 1", "'1_0', which is no number"),
        (b"0 0.5 \xff 1 1", "labels/1.txt is not UTF-8 text"),
        (b" " * (4 * 1024 * 1024 + 1), "at most 4194304"),
    ],
)  # fmt: skip
def test_lines_that_are_refused(labels: str | bytes, said: str) -> None:
    with pytest.raises(UnprocessableContent, match=re.escape(said)):
        imported(one(labels))


@pytest.mark.parametrize(
    ("further", "said"),
    [
        ({"data.yaml": "nc: 3\n"}, "Nothing names the classes"),
        ({"data.yaml": "names: RBC\n"}, "data.yaml has neither a list nor a map"),
        ({"data.yaml": "names: [RBC, WBC\n"}, "without the closing ']'"),
        ({"data.yaml": "names: [RBC, WBC]\nnc: 3"}, "has 2 names, and 3 classes as `nc`"),
        ({"data.yaml": "names:\n  0: a\n  2: b\n"}, "numbers are not 0 to 1"),
        ({"data.yaml": "names:\n"}, "names no classes"),
        ({"data.yaml": b"names: [\xff]"}, "not UTF-8"),
        ({"classes.txt": "a\n\nb\n"}, "classes.txt has no name in line 2"),
        ({"classes.txt": "a\nb\nc\n"}, "name different classes"),
        ({"images/1.jpg": picture(5, 5, kind="JPEG")}, "labels/1.txt belongs to two pictures"),
        ({"x.json": coco([], [])}, "several formats: coco (x.json), yolo (labels/1.txt)"),
    ],
)
def test_archives_that_are_refused(further: dict[str, bytes | str], said: str) -> None:
    with pytest.raises(UnprocessableContent, match=re.escape(said)):
        imported({**one("0 0.5 0.5 1 1"), **further})


def test_the_format_can_be_chosen() -> None:
    files = {**one("0 0.5 0.5 1 1"), "x.json": coco([], [])}
    assert len(imported(files, annotation_format="yolo").annotated.pictures) == 1
    assert len(imported(files, annotation_format="coco").annotated.pictures) == 0
    with pytest.raises(UnprocessableContent, match="no annotations of the format pascal_voc"):
        imported(files, annotation_format="pascal_voc")
    with pytest.raises(UnprocessableContent, match="pictures, but no annotations"):
        imported({"1.png": picture(5, 5)})


def test_boxes_are_bounded() -> None:
    with pytest.raises(ContentTooLarge, match="Line 1001 of"):
        imported(one("".join(f"0 0.5 0.5 1 {number / 1001}\n" for number in range(1, 1002))))


def test_lines_that_stand_twice_count_once() -> None:
    found = imported(one("0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n0  0.5 0.5 1 1\n")).annotated
    assert found.pictures["images/1.png"].labels.tolist() == [0, 1]
    assert [(fault.place, fault.outcome) for fault in found.faults.shown] == [("Line 3 of labels/1.txt", "refused")]


YAML = [
    "names: ['a b', \"c\\\"d\", 'it''s', e#f, 1, yes, a:b] # comment\n",
    "train: x\nnames:\n- a\n- 'b: c'  # comment\n- traffic light, red\n\nval: y\n",
    "names:\n  # comment\n  0: person\n  1: 'b'\n  2: x [y]\nkpt: [1]\n",
    'names: {0: person, 1: "b", 2: c d}\n',
    "names: [\n  'a',\n  b, # one\n  'c',\n]\nnc: 3  # three\n",
    'names: ["\\u00e9\\xe9\\U0001F600\\t\\\\"]',
    "names: [very long name\n  that goes on]\n",
    "'0': z\nnames:\n  '0': a\n  \"1\": b\n",
    'names: ["a\\\n  b", "c\n  d", \'e\n  f\']',
    "path: x\r\nnames:\r\n  - a\r\n  - b\r\n",
]


@pytest.mark.parametrize("text", YAML)
def test_names_are_those_of_yaml(text: str) -> None:
    found = yaml.load(text, yaml.BaseLoader)["names"]
    assert names_of_yaml(text) == (list(found.values()) if isinstance(found, dict) else found)


@given(st.lists(st.text(max_size=15), max_size=5), st.booleans(), st.booleans(), st.booleans())
def test_names_that_yaml_writes_are_read_or_refused(names: list[str], flow: bool, plain: bool, numbered: bool) -> None:
    value = dict(enumerate(names)) if numbered else names
    style = None if flow else False
    text = yaml.safe_dump({"names": value, "z": 1}, default_flow_style=style, allow_unicode=plain, width=10_000)
    try:
        found = names_of_yaml(text)
    except UnreadableNames:
        assert any(not name.isprintable() or name != name.strip() or len(name.splitlines()) > 1 for name in names)
        return
    if all(name.isprintable() for name in names):
        assert found == names


@given(st.text(alphabet="names: [],{}'\"\\#\n0-ab\t", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (names_of_yaml, names_of_lines):
        try:
            read(text)
        except UnreadableNames:
            continue


@given(st.text(alphabet="0123456789. -+enaif\n\t", max_size=60))
def test_any_labels_are_read_or_refused(labels: str) -> None:
    try:
        found = imported(one(labels)).annotated
    except Problem as problem:
        assert problem.status in {413, 422}
        return
    boxes = found.pictures["images/1.png"].boxes
    assert ((boxes >= 0) & (boxes <= [20, 10, 20, 10])).all()
