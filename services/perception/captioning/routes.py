"""Captioning over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from fastapi import APIRouter, Request, Response

from services.perception.captioning.answers import describe_answer
from services.perception.captioning.captioners import Captioner, Captioners
from services.perception.captioning.inference import Described, describe_pictures, read_pictures
from services.perception.captioning.schemas import (
    MOST_MAPPED,
    AttentionKind,
    CaptionAnswer,
    CaptionForm,
    CaptionOptions,
)
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import JSON, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.sizes import stated_pixels
from shared.problems import NotFound, field_problem, problem_responses
from shared.service import service_state
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/perception", tags=["captioning"])

CAPTIONING: Final = ImageForm(CaptionOptions, CaptionForm, PICTURE_TYPES)
_captioners = Captioners()


@image_route(
    router,
    "/captions",
    CAPTIONING,
    headers={"accept": "application/json"},
    summary="Caption pictures",
    response_model=CaptionAnswer,
    responses={**POST_PROBLEMS, **problem_responses(NotFound)},
)
async def caption_pictures(request: Request, posted: Posted[CaptionOptions]) -> Response:
    """What each picture shows, in words: the best captions that a beam search finds, with the log-probability of each
    word and, if asked for, where the captioner looked for it.

    A captioner knows the words and the scenes that it was trained on, and describes anything in terms of these.
    """
    choose_media_type(accept_of(request.headers), (JSON,))
    service, options = service_state(request), posted.options
    captioner = _captioners.find(service.models, options.model)
    _require_sizes(options, captioner, pictures=len(posted.files))
    with timed("pre"):
        files = [await file.read() for file in posted.files]
    async with service.compute_pool.admit(cost=sum(map(stated_pixels, files))) as admission:
        pictures = await admission.run(read_pictures, files, captioner, pixel_limit=service.settings.pixel_limit)
        described = await describe_pictures(
            pictures, captioner, options, batchers=service.batchers, admission=admission
        )
        return await admission.run(_answer, described, captioner, options.attention)


def _require_sizes(options: CaptionOptions, captioner: Captioner, *, pictures: int) -> None:
    """Check what no field says by itself.

    Raises:
        UnprocessableContent: more captions than beams, more words than the captioner can write, or too many maps.
    """
    if options.captions > options.beams:
        detail = f"{options.beams} beams find at most {options.beams} captions. Ask for more beams, or fewer captions."
        raise field_problem("/body/captions", detail)
    most = captioner.role.most_words
    if options.most_words > most:
        raise field_problem("/body/most_words", f"{captioner.reference.name} writes at most {most} words.")
    if options.attention == "png" and pictures * options.captions > MOST_MAPPED:
        detail = (
            f"Maps of {pictures * options.captions} captions are too many for one answer. Ask for at most "
            f"{MOST_MAPPED} (pictures times captions), or for attention=values."
        )
        raise field_problem("/body/attention", detail)


def _answer(described: Sequence[Described], captioner: Captioner, attention: AttentionKind) -> Response:
    with timed("post"):
        answer = describe_answer(described, captioner, attention)
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type=JSON)
