"""Detections and sets as COCO's JSON, read back by COCO's own tools."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.perception.detection.annotations.coco import read_coco
from services.perception.detection.writing import coco_results, write_coco, write_coco_results
from shared.detectors.detections import Detections
from tests.unit.services.perception.detection.annotated_archives import POINTER, Drawn, annotated_set, assert_same

SET = annotated_set([Drawn(30, 20, [(0, (0, 0, 2, 2)), (1, (1.25, 1, 3, 3.5))]), Drawn(5, 5)], ["cat", "dog"])


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))


EDGES = st.floats(0, 4000, width=32)


@given(st.lists(st.tuples(EDGES, EDGES, EDGES, EDGES, st.floats(0, 1, width=32), st.integers(0, 9)), max_size=5))
def test_results_give_the_detections_back(rows: list[tuple[float, float, float, float, float, int]]) -> None:
    found = detections(*rows)
    results = json.loads(json.dumps(coco_results([("a", found)])))
    assert all(one["image_id"] == "a" for one in results)
    boxes = np.array([one["bbox"] for one in results]).reshape(-1, 4)
    edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32)
    np.testing.assert_allclose(edges, found.boxes, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(np.array([one["score"] for one in results], np.float32), found.scores)
    assert [one["category_id"] - 1 for one in results] == found.labels.tolist()


def test_pycocotools_reads_sets_and_results(tmp_path: Path) -> None:
    pycocotools: Any = pytest.importorskip("pycocotools.coco")
    annotated = replace(SET, category_ids=(13, 90))
    (tmp_path / "set.json").write_bytes(write_coco(annotated))
    found = {"images/1.png": detections((1, 2, 4, 8, 0.5, 1)), "images/2.png": Detections.none()}
    (tmp_path / "results.json").write_bytes(write_coco_results(found, annotated))
    with contextlib.redirect_stdout(io.StringIO()):
        read = pycocotools.COCO(str(tmp_path / "set.json"))
        results = read.loadRes(str(tmp_path / "results.json"))
    assert [one["bbox"] for one in read.loadAnns(read.getAnnIds(imgIds=[1]))] == [[0, 0, 2, 2], [1.25, 1, 1.75, 2.5]]
    assert [one["name"] for one in read.loadCats([13, 90])] == ["cat", "dog"]
    assert results.anns[1]["bbox"] == [1, 2, 3, 6]
    assert (results.anns[1]["category_id"], results.anns[1]["image_id"]) == (90, 1)


def test_everything_of_a_set_comes_back() -> None:
    pictures = dict(SET.pictures)
    first = pictures["images/1.png"]
    pictures["images/1.png"] = replace(
        first,
        image_id="first",
        areas=np.array([3.5, 1.0]),
        crowd=np.array([True, False]),
        difficult=np.array([False, True]),
    )
    annotated = replace(SET, pictures=pictures, category_ids=(5, 7))
    read = read_coco(write_coco(annotated), source="set.json", pointer=POINTER)
    assert_same(read, annotated)
    assert read.category_ids == (5, 7)


def test_pictures_of_another_set_are_refused() -> None:
    with pytest.raises(KeyError):
        write_coco_results({"other.png": Detections.none()}, SET)
