"""NeuralFuse over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from numpy.typing import NDArray

from services.security.neuralfuse.answers import (
    Predicted,
    describe_generators,
    describe_predictions,
    draw_predictions,
)
from services.security.neuralfuse.capability import PATH
from services.security.neuralfuse.generators import (
    find_generator,
    list_bases,
    list_generators,
)
from services.security.neuralfuse.graphs import UnusableGraph, fuse_graphs
from services.security.neuralfuse.networks import Networks
from services.security.neuralfuse.predictions import compute_predictions, read_question
from services.security.neuralfuse.schemas import (
    GeneratorList,
    PredictionAnswer,
    PredictionForm,
    PredictionOptions,
)
from services.security.neuralfuse.seam import Seam
from shared.answers.representations import Representations, Wish, respond
from shared.fleet.artifacts import ModelArtifact
from shared.fleet.classifiers import ClassifierDescription, describe_classifier
from shared.http.files import FILE_HEADERS, file_response
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import JSON, ONNX, PNG, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, binary_content
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.sizes import stated_pixels
from shared.problems import (
    FieldError,
    NotAcceptable,
    NotFound,
    ServiceUnavailable,
    UnprocessableContent,
    field_problem,
    problem_responses,
)
from shared.runtime.cards import LONGEST_NAME
from shared.runtime.inspection.preparation import TrialLimits
from shared.service import Service, service_state, state_of
from shared.telemetry.timing import timed

router = APIRouter(prefix=PATH, tags=["NeuralFuse"])

_ANSWERS = {
    "content": binary_content(PNG),
    "headers": FILE_HEADERS,
    "description": "Predictions at nominal and at low voltage, with and without a generator",
}
_FUSED = {"content": binary_content(ONNX), "headers": FILE_HEADERS, "description": "The generator and the classifier"}

_OF_GET = {"/body/model": "/query/model", "/body/generator": "/path/name"}
"""Where fields of the form stand in the route that has no body."""

PREDICTION = ImageForm(PredictionOptions, PredictionForm, PICTURE_TYPES)

KnownNetworks = Annotated[Networks, Depends(state_of(Networks))]


@image_route(
    router,
    "/predictions",
    PREDICTION,
    headers={"accept": "application/json: predictions; image/png: each picture beside what the protected network sees"},
    summary="Classify pictures at low voltage",
    response_model=PredictionAnswer,
    responses={200: _ANSWERS, **POST_PROBLEMS, **problem_responses(NotFound)},
)
async def predict_protected(request: Request, posted: Posted[PredictionOptions]) -> Response:
    """What a classifier says of each picture at nominal voltage and at a low one, where cells of its weight memory
    fail; of the picture as it is, and of what a generator makes of it.

    Bit errors are simulated for each seed on the classifier's weights in eight bits. A generator may be asked for with
    another classifier than its own. What low voltage saves is arithmetic from published constants, no measurement.
    """
    service, options = service_state(request), posted.options
    wish = Wish.of(choose_media_type(accept_of(request.headers), (JSON, PNG)), options.store)
    networks = service.states.get(Networks)
    with timed("pre"):
        files = [await file.read() for file in posted.files]
    question = await read_question(options, service, networks)
    async with service.compute_pool.admit(cost=sum(map(stated_pixels, files))) as admission:
        predicted = await compute_predictions(question, files, service=service, networks=networks, admission=admission)
        work = partial(_represent, predicted, options.top)
        return await respond(work, wish, files=service.answer_files, run=admission.run)


def _represent(predicted: Predicted, top: int) -> Representations:
    return Representations(
        describe=lambda: describe_predictions(predicted, top=top),
        encode=lambda _: draw_predictions(predicted),
        name="predictions",
        model=predicted.network.description.reference,
    )


@router.get(
    "/generators",
    summary="List generators",
    responses=problem_responses(ServiceUnavailable),
)
async def list_released(service: Service) -> GeneratorList:
    """Generators and the classifiers that they were trained for, with what was measured of them and what they save."""
    return describe_generators(list_generators(service.models), list_bases(service.models), path=PATH)


@router.get(
    "/generators/{name}/fused-model",
    summary="Get a generator and its classifier as one ONNX file",
    response_class=Response,
    responses={200: _FUSED, **problem_responses(NotAcceptable, NotFound, UnprocessableContent, ServiceUnavailable)},
)
async def fuse_model(
    request: Request,
    service: Service,
    networks: KnownNetworks,
    name: Annotated[str, PathParameter(description="Name of the generator", max_length=LONGEST_NAME)],
    model: Annotated[
        str | None,
        Query(description="The classifier; unless given, the one that the generator was trained for"),
    ] = None,
) -> Response:
    """A graph from `pictures`, RGB in [0, 1], cut and scaled as the classifier wants them, to what the classifier
    answers of the transformed pictures: to be run elsewhere, at low voltage with the generator's weights kept safe.
    """
    choose_media_type(accept_of(request.headers), (ONNX,))
    generator = find_generator(service.models, name)
    try:
        artifacts = await networks.find(name, generator.card.version), await networks.find(model or generator.role.base)
        description = describe_classifier(artifacts[1].card)
        generator.require_size(description.height, description.width)
    except UnprocessableContent as problem:
        problem.errors = [FieldError(pointer=_OF_GET[one.pointer], detail=one.detail) for one in problem.errors]
        raise
    content = await service.compute_pool.run(_fuse, artifacts, description, networks.limits)
    return file_response(content, ONNX, name=f"{name}-{description.reference.name}", model=description.reference)


def _fuse(
    artifacts: tuple[ModelArtifact, ModelArtifact], description: ClassifierDescription, limits: TrialLimits
) -> bytes:
    generator, base = artifacts
    seam = Seam(description.height, description.width, _listed(description.scale), _listed(description.shift))
    try:
        return fuse_graphs(generator.read(), base.read(), seam, limits)
    except UnusableGraph as error:
        raise field_problem("/query/model", f"{base.card.name} cannot be fused with a generator: {error}.") from None


def _listed(values: NDArray[np.float32] | None) -> list[float] | None:
    return None if values is None else values.reshape(-1).tolist()
