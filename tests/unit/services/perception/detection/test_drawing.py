"""Drawn detections: what is painted, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ImageColor

from services.perception.detection.drawing import PALETTE, draw_detections
from shared.detectors.detections import Detections


def grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def detections(boxes: list[tuple[float, ...]], labels: list[int] | None = None) -> Detections:
    scores = np.linspace(0.9, 0.1, len(boxes)).astype(np.float32)
    edges = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(edges, scores, np.array(labels or [0] * len(boxes), np.int64))


def painted(picture: NDArray[np.uint8], label: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (picture == np.array(ImageColor.getrgb(PALETTE[label]))).all(axis=2)
    return found


def test_nothing_found_changes_nothing() -> None:
    picture = grey(50, 60)
    np.testing.assert_array_equal(draw_detections(picture, Detections.none(), []), picture)


@pytest.mark.parametrize("side", [100, 480, 4000])
def test_a_box_is_drawn_along_its_edges(side: int) -> None:
    low, high = side // 4, 3 * side // 4
    picture = grey(side, side)
    drawn = draw_detections(picture, detections([(low, low, high, high)], [1]), ["a", "b"])
    assert (picture == 128).all()
    assert (drawn.shape, drawn.dtype) == (picture.shape, picture.dtype)
    colour = painted(drawn, 1)
    assert colour[low:high, [low, high - 1]].all()
    assert colour[[low, high - 1], low:high].all()
    assert not colour[high:].any()
    assert not colour[:, :low].any()
    assert (drawn[side // 2, side // 2] == 128).all()
    ground = np.flatnonzero(colour[:low].any(axis=1))
    assert 9 <= len(ground) < 0.2 * side
    assert ground[-1] == low - 1


@pytest.mark.parametrize("box", [(0, 0, 200, 200), (180, 0, 200, 20), (0, 180, 20, 200), (180, 180, 400, 400)])
def test_texts_stay_inside(box: tuple[float, ...]) -> None:
    names = ["traffic light"]
    whole = draw_detections(grey(200, 200), detections([box]), names)
    middle = draw_detections(grey(200, 200), detections([(60, 60, 140, 140)]), names)
    dark = [int((one < 60).all(axis=2).sum()) for one in (whole, middle)]
    assert dark[0] > 30
    assert dark[1] > 30


def test_texts_do_not_cover_each_other() -> None:
    boxes: list[tuple[float, ...]] = [(50, 50, 150, 150)] * 10
    drawn = draw_detections(grey(200, 200), detections(boxes, list(range(10))), [])
    first = draw_detections(grey(200, 200), detections(boxes[:1]), [])
    ground = painted(first, 0)[:50]
    assert ground.sum() > 200
    np.testing.assert_array_equal(painted(drawn, 0)[:50][ground], True)


def test_texts_do_not_hide_boxes() -> None:
    drawn = draw_detections(grey(200, 200), detections([(60, 100, 140, 160), (70, 92, 75, 97)], [1, 2]), [])
    assert painted(drawn, 2)[92:97, [70, 74]].all()


def test_the_same_input_gives_the_same_pixels() -> None:
    found = detections([(1, 2, 30, 40), (5, 5, 50, 50)], [3, 12])
    np.testing.assert_array_equal(draw_detections(grey(60, 60), found, []), draw_detections(grey(60, 60), found, []))


def test_colours_of_the_palette_are_distinct() -> None:
    assert len(set(PALETTE)) == 8


@given(st.data())
def test_any_detections_can_be_drawn(data: st.DataObject) -> None:
    edge = st.floats(-1e6, 1e6, width=32)
    boxes = data.draw(st.lists(st.tuples(edge, edge, edge, edge), max_size=4))
    found = detections(list(boxes), data.draw(st.lists(st.integers(0, 20), min_size=len(boxes), max_size=len(boxes))))
    names = data.draw(st.lists(st.text(max_size=40), max_size=5))
    height, width = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 80))
    assert draw_detections(grey(height, width), found, names).shape == (height, width, 3)
