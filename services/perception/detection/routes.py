"""Detection over HTTP."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response

from services.perception.detection.answers import FoundObjects, describe_coco, describe_facet, draw, small
from services.perception.detection.detectors import Detectors
from services.perception.detection.inference import detect, read_picture
from services.perception.detection.schemas import CocoAnswer, DetectionAnswer, DetectionForm, DetectionOptions, Layout
from shared.answers.representations import Representations, Wish, respond
from shared.detectors.inference import Selection
from shared.detectors.models import Detector
from shared.http.files import FILE_HEADERS
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import JSON, PNG, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, binary_content
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.sizes import stated_pixels
from shared.problems import NotFound, field_problem, problem_responses
from shared.runtime.compute_pool import Admission
from shared.service import ServiceState, service_state
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/perception", tags=["detection"])

DETECTION: Final = ImageForm(DetectionOptions, DetectionForm, PICTURE_TYPES)
_SHOWN: Final = 60

_detectors = Detectors()

_ANSWERS = {"content": binary_content(PNG), "headers": FILE_HEADERS, "description": "The objects"}


@image_route(
    router,
    "/detections",
    DETECTION,
    headers={"accept": "application/json names objects; image/png is the picture with boxes, several side by side"},
    summary="Find objects on pictures",
    response_model=DetectionAnswer | CocoAnswer,
    responses={200: _ANSWERS, **POST_PROBLEMS, **problem_responses(NotFound)},
)
async def detect_objects(request: Request, posted: Posted[DetectionOptions]) -> Response:
    """Where objects are on each picture, of which class, and how sure the detector is of each.

    A picture is scaled as the card of the detector says, and boxes come back in pixels of the posted picture, upright.
    Of boxes of one class that overlap the surest stays.
    """
    service, options = service_state(request), posted.options
    wish = Wish.of(choose_media_type(accept_of(request.headers), (JSON, PNG)), options.store)
    detector = _detectors.find(service.models, options.model)
    selection = select_by(options, detector)
    with timed("pre"):
        files = [await file.read() for file in posted.files]
    # One picture after the other is decoded, so the largest says what they take.
    async with service.compute_pool.admit(cost=max(map(stated_pixels, files))) as admission:
        drawn = PNG in {wish.media_type, *wish.stored}
        found = await _find(files, detector, selection, service=service, admission=admission, drawn=drawn)

        def represent() -> Representations:
            return _represent(found, detector, selection, options.layout)

        return await respond(represent, wish, files=service.answer_files, run=admission.run)


def select_by(options: DetectionOptions, detector: Detector) -> Selection:
    """What is answered: as a request says, and as the detector's card says where the request does not.

    Raises:
        UnprocessableContent: the detector knows no such class.
    """
    role = detector.role
    names = {name: label for label, name in enumerate(role.classes)}
    for index, name in enumerate(options.classes):
        if name not in names:
            raise field_problem(f"/body/classes/{index}", _unknown_class(name, detector))
    return Selection(
        score_threshold=role.score_threshold if options.score_threshold is None else options.score_threshold,
        iou_threshold=role.iou_threshold if options.iou_threshold is None else options.iou_threshold,
        limit=role.limit if options.limit is None else options.limit,
        labels=frozenset(names[name] for name in options.classes) or None,
    )


def _unknown_class(name: str, detector: Detector) -> str:
    classes = detector.role.classes
    close = difflib.get_close_matches(name, classes, n=1)
    known = f"Is {close[0]!r} meant?" if close else f"It knows {', '.join(classes[:10])}{'...' * (len(classes) > 10)}."
    return f"{detector.reference.name} knows no class {name[:_SHOWN]!r}. {known}"


async def _find(
    files: Sequence[bytes],
    detector: Detector,
    selection: Selection,
    *,
    service: ServiceState,
    admission: Admission,
    drawn: bool,
) -> list[FoundObjects]:
    found: list[FoundObjects] = []
    for index, data in enumerate(files):
        picture = await admission.run(
            read_picture, data, detector, pixel_limit=service.settings.pixel_limit, pointer=f"/body/file/{index}"
        )
        detections = await detect(picture, detector, selection, batchers=service.batchers, admission=admission)
        height, width = picture.pixels.shape[:2]
        one = FoundObjects(height, width, detections, picture.pixels if drawn else None)
        found.append(await admission.run(small, one) if drawn and len(files) > 1 else one)
    return found


def _represent(
    found: Sequence[FoundObjects], detector: Detector, selection: Selection, layout: Layout
) -> Representations:
    describe = describe_facet if layout == "facet" else describe_coco
    return Representations(
        describe=lambda: describe(found, detector, selection),
        encode=lambda _: draw(found, detector),
        name="detections",
        model=detector.reference,
    )
