"""From a posted picture to the objects on it; see `shared.detectors.inference`.

A graph takes one picture at a time, so the pictures of a request are worked on one after the other, and between two of
them others get their turn.
"""

from __future__ import annotations

from shared.detectors.detections import Detections
from shared.detectors.inference import SeenPicture, Selection, failed, finish, see
from shared.detectors.models import Detector
from shared.detectors.roles import IMAGE
from shared.imaging.colour import read_rgb
from shared.inference_protocol.failures import computation_failures
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.compute_pool import Admission
from shared.runtime.inspection.failure_reasons import reason_of
from shared.telemetry.timing import timed


def read_picture(data: bytes, detector: Detector, *, pixel_limit: int, pointer: str) -> SeenPicture:
    """Decode a picture and scale it as the detector wants it. Blocks.

    Args:
        data: PNG, JPEG or WebP of any size.
        detector: that will see it.
        pixel_limit: most pixels of it.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
    """
    with timed("pre"):
        return see(read_rgb(data, pixel_limit=pixel_limit, pointer=pointer), detector)


async def detect(
    picture: SeenPicture, detector: Detector, selection: Selection, *, batchers: Batchers, admission: Admission
) -> Detections:
    """Objects on a picture, in its pixels, the surest first.

    Raises:
        UnprocessableContent: the model cannot compute the picture, or answers what are no detections.
        ServiceUnavailable: too many wait for the model.
    """
    batcher, tensor = batchers.of(detector.model), picture.tensor
    try:
        # The first axis of the outputs counts regions, so nothing can be stacked with another request's picture.
        answered = await batcher.infer({IMAGE: tensor}, cost=tensor.size, stackable=False)
    except computation_failures() as failure:
        raise failed(detector, reason_of(failure)) from None
    return await admission.run(finish, answered, picture.letterboxed, detector, selection)
