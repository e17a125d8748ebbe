"""Detections and annotated pictures as COCO's JSON (https://cocodataset.org/#format-results and #format-data)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet, ImageId
from shared.detectors.detections import Detections


def coco_results(
    found: Iterable[tuple[ImageId, Detections]], *, category_ids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Detections of any number of pictures as COCO's list of results.

    Args:
        found: id of each picture, and what was found on it.
        category_ids: by label, such as those of an AnnotatedSet; the label plus one if None.

    Returns:
        An object with image_id, category_id, bbox and score for each, where bbox is [left, top, width, height] in
        pixels; no digit of an edge is left out.
    """
    results: list[dict[str, Any]] = []
    for image_id, detections in found:
        arrays = (detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist())
        for edges, score, label in zip(*arrays, strict=True):
            category = label + 1 if category_ids is None else category_ids[label]
            results.append(
                {"image_id": image_id, "category_id": category, "bbox": _left_top_sides(edges), "score": score}
            )
    return results


def write_coco_results(found: Mapping[str, Detections], annotated: AnnotatedSet) -> bytes:
    """JSON of what was found on annotated pictures, with their own ids of images and categories.

    Args:
        found: by name of the picture, with labels of the set.
        annotated: the set.

    Raises:
        KeyError: a picture is none of the set.
    """
    named = ((annotated.pictures[name].image_id, detections) for name, detections in found.items())
    return orjson.dumps(coco_results(named, category_ids=annotated.category_ids))


def write_coco(annotated: AnnotatedSet) -> bytes:
    """JSON of a whole data set, which `read_coco` and COCO's own tools read.

    COCO has no difficult objects; they are marked by `difficult`, which other readers pass over.
    """
    images = [
        {"id": one.image_id, "file_name": one.name, "width": one.width, "height": one.height}
        for one in annotated.pictures.values()
    ]
    boxes = [box for one in annotated.pictures.values() for box in _annotations(one, annotated.category_ids)]
    categories = zip(annotated.category_ids, annotated.class_names, strict=True)
    return orjson.dumps(
        {
            "images": images,
            "annotations": [{"id": number, **box} for number, box in enumerate(boxes, 1)],
            "categories": [{"id": number, "name": name} for number, name in categories],
        }
    )


def _annotations(picture: AnnotatedPicture, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    columns = (picture.boxes, picture.labels, picture.areas, picture.crowd, picture.difficult)
    return [
        {
            "image_id": picture.image_id,
            "category_id": category_ids[label],
            "bbox": _left_top_sides(edges),
            "area": area,
            "iscrowd": int(crowd),
            **({"difficult": 1} if difficult else {}),
        }
        for edges, label, area, crowd, difficult in zip(*(one.tolist() for one in columns), strict=True)
    ]


def _left_top_sides(edges: Sequence[float]) -> list[float]:
    left, top, right, bottom = edges
    return [left, top, right - left, bottom - top]
