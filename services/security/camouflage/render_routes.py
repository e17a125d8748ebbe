"""Renders over HTTP: one view of a painted car, at once."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from services.security.camouflage.capability import RENDERS_PATH
from services.security.camouflage.render_schemas import RenderAnswer, RenderForm, RenderOptions
from services.security.camouflage.renders import COST, Render, RenderFiles, render
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.textures.posted_textures import TEXTURE_TYPES
from shared.answers.representations import Representations, Wish, respond
from shared.http.files import FILE_HEADERS
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import JSON, NPY, PNG, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, binary_content
from shared.imaging.sizes import stated_pixels
from shared.service import service_state
from shared.telemetry.timing import timed

router = APIRouter(tags=["camouflage"])

RENDER: Final = ImageForm(RenderOptions, RenderForm, TEXTURE_TYPES)

_ANSWERS: Final = {
    "content": binary_content(PNG, NPY),
    "headers": FILE_HEADERS,
    "description": "The picture, or what is on it",
}


@image_route(
    router,
    RENDERS_PATH,
    RENDER,
    headers={
        "accept": "image/png is the picture; application/x-npy the same as float32 (height, width, 3), sRGB from 0 to "
        "1; application/json says what is on it"
    },
    summary="Render a painted car",
    response_model=RenderAnswer,
    responses={200: _ANSWERS, **POST_PROBLEMS},
)
async def render_view(request: Request, posted: Posted[RenderOptions]) -> Response:
    """One view of a car with a posted texture or a plain paint, by the renderer that camouflages are made with.

    Camera, sun, sky, paint and background are options; without a background a street is drawn. The mesh may be posted,
    as OBJ or GLB. Simulation only.
    """
    service, options = service_state(request), posted.options
    wish = Wish.of(choose_media_type(accept_of(request.headers), (PNG, JSON, NPY)), options.store)
    with timed("pre"):
        texture = await posted.files[0].read() if posted.files else None
        others = {name: await file.read() for name, file in posted.others.items()}
    files = RenderFiles(texture, others.get("mesh"), others.get("background"))
    cost = COST * options.width * options.height + max(map(stated_pixels, (texture or b"", files.background or b"")))
    async with service.compute_pool.admit(cost=cost) as admission:
        with timed("infer"):
            made = await admission.run(render, options, files, pixel_limit=service.settings.pixel_limit)
        return await respond(lambda: _represent(made), wish, files=service.answer_files, run=admission.run)


def _represent(made: Render) -> Representations:
    return Representations(describe=made.describe, encode=made.encode, name="render", notice=SIMULATION)
