"""COCO's JSON: ids with gaps, crowds, outlines without boxes, and files that are not what they should be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.perception.detection.annotations.coco import read_coco
from services.perception.detection.annotations.coco_outlines import outline_edges
from services.perception.detection.annotations.model import AnnotatedSet
from services.perception.detection.writing import write_coco
from shared.problems import ContentTooLarge, Problem, UnprocessableContent
from tests.unit.services.perception.detection.annotated_archives import (
    POINTER,
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

IMAGE = {"id": 7, "file_name": "a/1.png", "width": 20, "height": 10}


def read(content: bytes) -> AnnotatedSet:
    return read_coco(content, source="set.json", pointer=POINTER)


def box(edges: Any, **further: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 7, "category_id": 1, "bbox": edges, **further}


@given(st.lists(drawn_pictures(), min_size=1, max_size=4), class_names())
def test_what_is_written_is_read(drawn: list[Drawn], names: list[str]) -> None:
    expected = annotated_set(drawn, names)
    assert_same(read(write_coco(expected)), expected)
    found = imported({**pictures_of(drawn), "annotations/instances.json": write_coco(expected)})
    assert_same(found.annotated, expected)
    assert (found.format, found.unused_pictures) == ("coco", 0)


def test_category_ids_with_gaps_become_labels_in_their_order() -> None:
    annotations = [box([0, 0, 2, 2], category_id=category) for category in (90, 1, 13)]
    found = read(coco([IMAGE], annotations, [(90, "toothbrush"), (1, "person"), (13, "stop sign")]))
    assert found.class_names == ("person", "stop sign", "toothbrush")
    assert found.category_ids == (1, 13, 90)
    assert found.pictures["a/1.png"].labels.tolist() == [2, 0, 1]


def test_crowds_and_areas_are_kept() -> None:
    found = read(coco([IMAGE], [box([0, 0, 4, 2], area=5.5, iscrowd=1), box([0, 0, 4, 2])])).pictures["a/1.png"]
    assert found.crowd.tolist() == [True, False]
    assert found.areas.tolist() == [5.5, 8]


def test_boxes_that_are_cut_off_or_left_out_are_counted_and_named() -> None:
    content = coco([IMAGE], [box([-3, 0, 5, 5]), box([0, 0, 0, 5]), box([30, 0, 5, 5]), box([0, 0, 20.01, 10])])
    content = content.replace(b'"annotations":[', b'"annotations":[' + orjson.dumps(box([0, 0, 1, 1])) + b",")
    content = content.replace(b"[0,0,1,1]", b"[NaN,0,1e999,1]")
    found = read(content)
    assert found.pictures["a/1.png"].boxes.tolist() == [[0, 0, 2, 5], [0, 0, 20, 10]]
    assert (found.faults.clipped, found.faults.refused) == (1, 3)
    assert [(one.place, one.outcome) for one in found.faults.shown] == [
        ("annotations[0] of set.json", "refused"), ("annotations[1] of set.json", "clipped"),
        ("annotations[2] of set.json", "refused"), ("annotations[3] of set.json", "refused"),
    ]  # fmt: skip
    assert "not finite" in found.faults.shown[0].detail
    assert "outside of the picture of 20 x 10" in found.faults.shown[3].detail


@given(st.data())
def test_boxes_of_run_lengths_equal_pycocotools(data: st.DataObject) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    pixels = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    drawn = np.asfortranarray(np.array(pixels, np.uint8).reshape(height, width))
    encoded = mask.encode(drawn)
    text = {"size": [height, width], "counts": encoded["counts"].decode()}
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], drawn.ravel(order="F"), [2]]))))
    counts = ([0] if drawn[0, 0] else []) + runs.tolist()
    left, top, wide, high = mask.toBbox(encoded).tolist()
    expected = (left, top, left + wide, top + high) if drawn.any() else None
    assert outline_edges(text, width=width, height=height) == expected
    assert outline_edges({"size": [height, width], "counts": counts}, width=width, height=height) == expected


def test_large_run_lengths_equal_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    drawn = np.zeros((700, 900), np.uint8, order="F")
    drawn[100:650, 200:850] = np.random.default_rng(0).random((550, 650)) > 0.3
    encoded = mask.encode(drawn)
    left, top, wide, high = mask.toBbox(encoded).tolist()
    text = {"size": [700, 900], "counts": encoded["counts"].decode()}
    assert outline_edges(text, width=900, height=700) == (left, top, left + wide, top + high)


@given(st.one_of(st.text(max_size=20), st.lists(st.integers(-5, 10**30), max_size=5), st.none(), st.floats()))
def test_damaged_run_lengths_have_no_box(counts: Any) -> None:
    edges = outline_edges({"size": [3, 3], "counts": counts}, width=3, height=3)
    assert edges is None or all(0 <= one <= 3 for one in edges)


def test_outlines_stand_in_for_missing_boxes() -> None:
    polygons = [[1, 2, 6, 3, 4, 8.5], [9, 1, 10, 1, 10, 2]]
    annotations = [{**box(None), "segmentation": polygons}, {**box([]), "segmentation": []}]
    found = read(coco([IMAGE], annotations))
    assert found.pictures["a/1.png"].boxes.tolist() == [[1, 1, 10, 8.5]]
    assert found.faults.refused == 1
    for damaged in ([[1, 2, 3]], [["a", 2]], [[float("nan"), 1]], [[10**400, 1]], "text", 5, [[1, 2], 3]):
        assert outline_edges(damaged, width=20, height=10) is None


def test_pictures_are_found_below_other_folders() -> None:
    images = [{**IMAGE, "file_name": "/home/someone/data/1.png"}, {**IMAGE, "id": "second", "file_name": "b\\2.png"}]
    found = imported(
        {
            "set/train/x/1.png": picture(20, 10),
            "set/train/b/2.png": picture(20, 10),
            "set/train/b/3.png": picture(20, 10),
            "set/_annotations.coco.json": coco(images, []),
            "set/info.json": b"{}",
            "__MACOSX/set/._1.png": b"x",
            ".DS_Store": b"x",
            "set/Thumbs.db": b"x",
        }
    )
    assert [(one.name, one.image_id) for one in found.annotated.pictures.values()] == [
        ("set/train/x/1.png", 7), ("set/train/b/2.png", "second")
    ]  # fmt: skip
    assert found.unused_pictures == 1
    assert found.read("set/train/b/2.png") == picture(20, 10)


def test_pictures_of_one_name_need_a_folder() -> None:
    files: dict[str, bytes | str] = {"a/1.png": picture(20, 10), "b/1.png": picture(20, 10)}
    found = imported({**files, "x.json": coco([IMAGE], [])})
    assert list(found.annotated.pictures) == ["a/1.png"]
    with pytest.raises(UnprocessableContent, match=r"'1.png', which may be 'a/1.png' or 'b/1.png'"):
        imported({**files, "x.json": coco([{**IMAGE, "file_name": "1.png"}], [])})


def test_pictures_that_lie_are_told_from_upright_ones() -> None:
    lying = picture(20, 10, kind="JPEG", orientation=6)
    with pytest.raises(UnprocessableContent, match=r"is 20 x 10 pixels; it is 10 x 20. Pictures are turned"):
        imported({"a/1.png": lying, "x.json": coco([IMAGE], [])})
    upright = imported({"a/1.png": lying, "x.json": coco([{**IMAGE, "width": 10, "height": 20}], [])})
    assert (upright.annotated.pictures["a/1.png"].width, upright.annotated.pictures["a/1.png"].height) == (10, 20)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"x.json": coco([IMAGE], [])}, "holds no pictures"),
        ({"a/1.png": picture(21, 10), "x.json": coco([IMAGE], [])}, "is 20 x 10 pixels; it is 21 x 10"),
        ({"b/2.png": picture(20, 10), "x.json": coco([IMAGE], [])}, "lists 1 pictures that the archive does not hold"),
        (
            {"a/1.png": picture(20, 10), "x.json": coco([IMAGE], []), "y.json": coco([IMAGE], [])},
            "holds 2 COCO files: 'x.json', 'y.json'",
        ),
        ({"a/1.png": b"BM" + bytes(50), "x.json": coco([IMAGE], [])}, "a BMP picture"),
        ({"a/1.png": picture(20, 10)[:20], "x.json": coco([IMAGE], [])}, "header of the picture 'a/1.png' is damaged"),
        ({"a/1.png": picture(20, 10), "x.json": coco([IMAGE, {**IMAGE, "id": 8}], [])}, "that is taken: 8"),
    ],
)
def test_archives_that_do_not_agree(files: dict[str, bytes | str], said: str) -> None:
    with pytest.raises(UnprocessableContent, match=re.escape(said)):
        imported(files)


DAMAGED: list[tuple[bytes, str]] = [
    (b"", "set.json is no JSON"),
    (b'{"images": \xff}', "not UTF-8"),
    (b'{"images":\n [}', "in line 2"),
    (b"[" * 200_000, "nested too deeply"),
    (b'{"images": ' + b"9" * 5000 + b"}", "too many digits"),
    (b"[]", "is a list, as results are"),
    (b"3", "no object with"),
    (b"{}", "no list `categories`"),
    (coco([IMAGE], [], []), "names no classes"),
    (coco([IMAGE], [], [(1, "a"), (1, "b")]), "has the id 1 of 'a'"),
    (coco([IMAGE], [], [(1, "a"), (2, " a")]), "the class 'a' twice"),
    (coco([IMAGE], [], [(True, "a")]), "categories[0] of set.json needs"),
    (coco([IMAGE], [], [(1, "")]), "class name of 0 characters"),
    (coco([IMAGE, {**IMAGE, "file_name": "b"}], []), "images[1] of set.json has an id or a picture that is taken: 7"),
    (coco([IMAGE, {**IMAGE, "id": 8}], []), "'a/1.png'"),
    (coco([{"id": 1}], []), "needs an `id`"),
    (coco([{"id": 1, "file_name": "a"}], []), "states no `width`"),
    (coco([{**IMAGE, "width": 1.5}], []), "states 1.5 x 10 pixels"),
    (coco([{**IMAGE, "width": -2}], []), "states -2 x 10 pixels"),
    (coco([IMAGE], [box([0, 0, 1, 1], image_id=8)]), "annotations[0] of set.json is of the image 8"),
    (coco([IMAGE], [box([0, 0, 1, 1], image_id=[7])]), "of the image [7]"),
    (coco([IMAGE], [box([0, 0, 1, 1], category_id=10**9)]), "of the category 1000000000"),
    (coco([IMAGE], [box([0, 0, 1])]), "`bbox` that is not [left"),
    (coco([IMAGE], [box("0 0 1 1")]), "`bbox` that is not [left"),
    (coco([IMAGE], [3]), "annotations[0] of set.json is no object"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("content", "said"), DAMAGED)
def test_damaged_files_are_named(content: bytes, said: str) -> None:
    with pytest.raises(UnprocessableContent, match=re.escape(said)) as caught:
        read(content)
    assert caught.value.errors[0].pointer == POINTER


def test_numbers_are_bounded() -> None:
    with pytest.raises(ContentTooLarge, match=r"annotations.1000. of set.json has one box more than the 1000"):
        read(coco([IMAGE], [box([0, 0, 1, 1])] * 1001))
    with pytest.raises(ContentTooLarge, match="20001 pictures"):
        read(coco([{}] * 20_001, []))
    with pytest.raises(ContentTooLarge, match="10001 classes"):
        read(coco([], [], [(number, str(number)) for number in range(10_001)]))
    assert read(coco([IMAGE], [box([0, 0, 1e300, 1e300])])).pictures["a/1.png"].boxes.tolist() == [[0, 0, 20, 10]]
    for many in (b"{}," * 2_000_001, b"0," * 12_000_001):
        with pytest.raises(ContentTooLarge, match="more lists, objects or numbers"):
            read(many)
    huge = coco([IMAGE], [box([0, 0, 1, 1])]).replace(b"[0,0,1,1]", b"[0,0,1" + b"0" * 400 + b",1]")
    assert read(huge).faults.refused == 1


@given(st.data())
def test_any_json_is_read_or_refused(data: st.DataObject) -> None:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=6)
    keys = ["id", "image_id", "category_id", "bbox", "name", "file_name", "width", "height", "segmentation", "iscrowd"]
    entry = st.dictionaries(st.sampled_from(keys), values | st.just(1), max_size=len(keys))
    document = {key: data.draw(st.lists(entry, max_size=3)) for key in ("images", "annotations", "categories")}
    try:
        found = read(orjson.dumps(document, option=orjson.OPT_PASSTHROUGH_SUBCLASS))
    except (Problem, orjson.JSONEncodeError):
        return
    assert all(np.isfinite(one.boxes).all() for one in found.pictures.values())
