"""The 80 classes of COCO in the order of the network's outputs, and which of them are classes of CARLA's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COCO_NAMES: Final = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

IN_CARLA: Final[Mapping[str, tuple[str, ...]]] = {
    "vehicle": ("car", "bus", "truck"),
    "bike": ("bicycle",),
    "motobike": ("motorcycle",),
    "traffic_light": ("traffic light",),
}
"""Classes of COCO by class of CARLA, whose word for motorcycles is spelt like that. Its traffic signs are speed limits
and others, of which COCO knows only those that say stop, so they are not compared."""
