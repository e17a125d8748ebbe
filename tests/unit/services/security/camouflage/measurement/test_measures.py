"""Figures against COCO's own evaluation, closed forms and coverage of intervals."""

from __future__ import annotations

import numpy as np
import pytest

from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet, BoxFaults
from services.perception.detection.coco_metrics import measure_coco
from services.security.camouflage.detection.detectors import Found
from services.security.camouflage.measurement.measures import (
    Conditions,
    Look,
    average_precision,
    break_down,
    look,
    measure,
)
from shared.detectors.detections import Detections

CAR = (20.0, 30.0, 80.0, 70.0)


def conditions(view: int, light: str = "noon") -> Conditions:
    return Conditions(view, view * 15.0 - 30, view % 5 * 10.0, 6 + view % 3 * 3.0, light, "street")


def found_in(scores: list[float], shifts: list[float]) -> Found:
    """The car, shifted to the right by so many pixels: 20 give an IoU of 0.5 exactly."""
    boxes = np.array([CAR] * len(scores), np.float32) + np.array([[shift, 0, shift, 0] for shift in shifts], np.float32)
    return Found(boxes.reshape(-1, 4), np.array(scores, np.float32))


def random_finds(frames: int, seed: int) -> list[Found]:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 6, frames)
    counts[0] = 130  # more than COCO looks at
    return [found_in(random.random(count).tolist(), random.uniform(-60, 60, count).tolist()) for count in counts]


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_coco(seed: int) -> None:
    finds = random_finds(25, seed)
    pictures = {
        str(place): AnnotatedPicture(
            name=str(place),
            image_id=place,
            width=200,
            height=200,
            boxes=np.array([CAR]),
            labels=np.zeros(1, np.int64),
            areas=np.array([2400.0]),
            crowd=np.zeros(1, bool),
            difficult=np.zeros(1, bool),
        )
        for place in range(len(finds))
    }
    detections = {
        str(place): Detections(one.boxes, one.scores, np.zeros(len(one), np.int64)) for place, one in enumerate(finds)
    }
    wanted = measure_coco(detections, AnnotatedSet(pictures, ("vehicle",), (1,), BoxFaults())).ap50
    looks = [look(one, CAR, conditions(place)) for place, one in enumerate(finds)]
    assert average_precision(looks) == pytest.approx(wanted, abs=1e-9)
    assert measure(looks, threshold=0.5, resamples=2).ap50.value == average_precision(looks)


def test_the_surest_that_overlaps_enough_is_of_the_car() -> None:
    seen = look(found_in([0.2, 0.9, 0.6, 0.5], [0, 50, 20, 1]), CAR, conditions(0))
    assert seen.score == pytest.approx(0.6)
    assert seen.hit == 1
    np.testing.assert_allclose(seen.scores, [0.9, 0.6, 0.5, 0.2])
    nothing = look(found_in([0.9], [21]), CAR, conditions(0))
    assert (nothing.score, nothing.hit) == (0.0, -1)
    assert look(found_in([], []), CAR, conditions(0)).score == 0.0


def looks_of(scores: list[float], views: list[int] | None = None) -> list[Look]:
    numbers = range(len(scores)) if views is None else views
    return [look(found_in([score], [0]), CAR, conditions(view)) for score, view in zip(scores, numbers, strict=True)]


def test_rates_and_success_are_counted() -> None:
    plain, painted = looks_of([0.9, 0.8, 0.6, 0.2]), looks_of([0.9, 0.3, 0.1, 0.6])
    found = measure(painted, threshold=0.5, reference=plain, resamples=200)
    assert (found.frames, found.views, found.threshold) == (4, 4, 0.5)
    assert found.detection_rate.value == 0.5
    assert found.mean_score.value == pytest.approx(0.475)
    assert found.attack_success is not None
    assert found.attack_success.value == pytest.approx(2 / 3)
    assert measure(painted, threshold=0.3, resamples=2).detection_rate.value == 0.75
    never = measure(painted, threshold=0.5, reference=looks_of([0.1] * 4), resamples=2)
    assert never.attack_success is not None
    assert never.attack_success.value is None
    assert measure(painted, threshold=0.5, resamples=2).attack_success is None


def test_intervals_draw_views_with_all_of_their_frames() -> None:
    random = np.random.default_rng(0)
    by_view = random.random(40)
    alone = measure(looks_of(by_view.tolist()), threshold=0.5)
    again = [score for score in by_view for _ in range(5)]
    repeated = measure(looks_of(again, [view for view in range(40) for _ in range(5)]), threshold=0.5)
    assert repeated.views == 40
    assert repeated.mean_score.interval == pytest.approx(alone.mean_score.interval)
    assert repeated.detection_rate == alone.detection_rate
    independent = measure(looks_of(again), threshold=0.5).mean_score.interval
    narrow, wide = np.diff(np.array(independent))[0], np.diff(np.array(repeated.mean_score.interval))[0]
    assert narrow < 0.6 * wide
    assert wide == pytest.approx(2 * 1.96 * by_view.std() / 40**0.5, rel=0.1)
    low, high = repeated.ap50.interval or (1.0, 0.0)
    assert low <= (repeated.ap50.value or 0.0) <= high
    assert measure(looks_of([0.5]), threshold=0.5).mean_score.interval is None


def test_frames_are_told_apart_by_their_conditions() -> None:
    looks = [
        look(found_in([0.9 if light == "noon" else 0.2], [0]), CAR, conditions(view, light))
        for view in range(26)
        for light in ("noon", "evening")
    ]
    found = break_down(looks, threshold=0.5, reference=looks, resamples=5)
    assert [one.name for one in found["light"]] == ["evening", "noon"]
    assert [one.figures.detection_rate.value for one in found["light"]] == [0.0, 1.0]
    assert [one.name for one in found["distance_m"]] == ["6 to 9", "9 to 12", "12 to 15"]
    azimuths = found["azimuth_degrees"]
    assert [azimuths[place].name for place in (0, 1, -1)] == ["0 to 15", "15 to 30", "345 to 360"]
    assert len(azimuths) == 24
    for bins in found.values():
        assert sum(one.figures.frames for one in bins) == len(looks)


def test_frames_must_be_there_and_the_same() -> None:
    with pytest.raises(ValueError, match="no frames"):
        measure([], threshold=0.5)
    with pytest.raises(ValueError, match="other frames"):
        measure(looks_of([0.5, 0.5]), threshold=0.5, reference=looks_of([0.5]))
