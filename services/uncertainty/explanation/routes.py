"""Explanations over HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Form, Request, Response
from numpy.typing import NDArray

from services.uncertainty.explanation.answers import Explained, Pattern, describe, drawn, stacked
from services.uncertainty.explanation.explainers import Explainers, KnownExplainers
from services.uncertainty.explanation.graphs import Steps, await_steps
from services.uncertainty.explanation.inference import Explainer, Explanation, substitute_pictures
from services.uncertainty.explanation.methods import DESCRIPTIONS, Method
from services.uncertainty.explanation.networks.graph import UnsupportedNetwork
from services.uncertainty.explanation.onnx_graphs.converter import convert
from services.uncertainty.explanation.schemas import (
    ConversionForm,
    ExplainableModel,
    ExplainerList,
    ExplanationAnswer,
    ExplanationForm,
    ExplanationOptions,
    LayerDescription,
    MethodDescription,
)
from shared.answers.representations import Representations, Wish, respond
from shared.http.files import FILE_HEADERS, file_response
from shared.http.image_bodies import ImageForm, Posted, image_route
from shared.http.negotiation import JSON, NPY, ONNX, PNG, accept_of, choose_media_type
from shared.http.route_parts import POST_PROBLEMS, binary_content
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.arrays import encode_npy
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.preprocessing import preprocessing_of
from shared.imaging.sizes import stated_pixels
from shared.problems import (
    NotFound,
    ServiceUnavailable,
    field_problem,
    problem_responses,
)
from shared.runtime.cards import reference_of
from shared.service import Service, service_state
from shared.telemetry.timing import timed

router = APIRouter(prefix="/v1/uncertainty", tags=["explanation"], route_class=UploadRoute)

_PROBLEMS = {**POST_PROBLEMS, **problem_responses(NotFound)}
_POSITION = re.compile(r"-?[0-9]{1,6}")
_LAYERED = {method for method, description in DESCRIPTIONS.items() if description.layers}


EXPLANATION = ImageForm(ExplanationOptions, ExplanationForm, PICTURE_TYPES)


@image_route(
    router,
    "/explanations",
    EXPLANATION,
    headers={"accept": "application/json: numbers; image/png: overlays side by side; application/x-npy: the maps"},
    summary="Explain a classifier's answer",
    response_model=ExplanationAnswer,
    responses={
        200: {
            "content": binary_content(PNG, NPY),
            "headers": FILE_HEADERS,
            "description": "Relevance of each pixel",
        },
        **_PROBLEMS,
    },
)
async def explain(request: Request, posted: Posted[ExplanationOptions]) -> Response:
    """Which pixels speak for a class and which against it, by one method or by several side by side.

    The logits and the map come out of one graph, without any gradient being traced at run time. Pictures are cut and
    scaled to what the network sees, as the card of the model says, and maps have that size: those of imagenet-lite0 are
    of the middle of the picture.
    """
    service, options = service_state(request), posted.options
    wish = Wish.of(choose_media_type(accept_of(request.headers), (JSON, PNG, NPY)), options.store)
    explainers = service.states.get(Explainers)
    explainer = await explainers.get(options.model)
    layers, targets = _layers(explainer, options), _targets(explainer, options, len(posted.files))
    with timed("pre"):
        files = [await file.read() for file in posted.files]
    async with service.compute_pool.admit(cost=sum(map(stated_pixels, files))) as admission:
        pictures = await admission.run(_decode, files, explainer, service.settings.pixel_limit)
        steps = _explaining(explainer, pictures, options, targets=targets, layers=layers)
        try:
            explained = await await_steps(steps, admission=admission, batchers=service.batchers)
        except UnsupportedNetwork as error:  # of an uploaded model: a graph of this method cannot be made
            raise field_problem("/body/model", f"{options.model} cannot be explained so: {error}.") from None
        await explainers.trim(service.batchers)
        work = partial(_represent, explained)
        return await respond(work, wish, files=service.answer_files, run=admission.run)


def _represent(explained: Explained) -> Representations:
    return Representations(
        describe=lambda: describe(explained),
        encode=lambda media_type: drawn(explained) if media_type == PNG else encode_npy(stacked(explained)),
        name="relevance",
        model=reference_of(explained.explainer.card),
    )


@router.get(
    "/explainers", summary="List what can be explained, and how", responses=problem_responses(ServiceUnavailable)
)
async def list_explainers(explainers: KnownExplainers) -> ExplainerList:
    """Classifiers with the layers that relevance can be read at, and the methods."""
    return ExplainerList(
        models=[
            ExplainableModel(
                model=reference_of(one.card),
                height=one.height,
                width=one.width,
                layers=[LayerDescription(name=name, height=size[0], width=size[1]) for name, size in one.sizes.items()],
            )
            for one in explainers.known
        ],
        on_demand=await explainers.further(),
        methods=[
            MethodDescription(method=method, says=known.says, source=known.source, layers=known.layers)
            for method, known in DESCRIPTIONS.items()
        ],
    )


@router.post(
    "/explainers/conversions",
    summary="Make a classifier explain itself",
    response_class=Response,
    responses={200: {"content": binary_content(ONNX), "description": "The model with its explanation"}, **_PROBLEMS},
)
async def convert_model(
    form: Annotated[ConversionForm, Form(media_type="multipart/form-data")], service: Service
) -> Response:
    """Put sharing ratio decomposition behind a classifier of your own: ONNX in, ONNX out, run it anywhere.

    The answer has the inputs `target` (class to explain, -1 for the predicted one) and `contrast` (0 or 1, need not be
    given) and the outputs `explained` and `relevance` beside its own. The file is read in a process of its own
    and run there once, to see that relevance adds up. Parts without a rule are all named.
    """
    content = await read_upload(form.file)
    with timed("post"):
        converted = await convert(content, layers=form.layer, patterns=form.activation_pattern)
    return file_response(converted, ONNX, name="explained")


def _layers(explainer: Explainer, options: ExplanationOptions) -> list[str]:
    """Names of the layers that were asked for, by name or position."""
    if options.layer and (without := sorted(set(options.method) - _LAYERED)):
        raise field_problem("/body/layer", f"These methods have no relevance at layers: {', '.join(without)}.")
    return [_layer(explainer, item, index, options) for index, item in enumerate(options.layer)]


def _layer(explainer: Explainer, item: str, index: int, options: ExplanationOptions) -> str:
    names = explainer.layers
    if item in names:
        name = item
    elif _POSITION.fullmatch(item) and -len(names) <= int(item) < len(names):
        name = names[int(item)]
    else:
        detail = f"There is no such layer. Give a name of GET /v1/uncertainty/explainers, or 0 to {len(names) - 1}."
        raise field_problem(f"/body/layer/{index}", detail)
    if name == names[0] and Method.GRAD_CAM in options.method:
        raise field_problem(f"/body/layer/{index}", "grad-cam has no map at the input; take a layer above it.")
    return name


def _targets(explainer: Explainer, options: ExplanationOptions, count: int) -> NDArray[np.int64]:
    classes = explainer.card.outputs[0].shape[-1]
    if options.target is not None and isinstance(classes, int) and options.target >= classes:
        raise field_problem("/body/target", f"{options.model} has the classes 0 to {classes - 1}.")
    return np.full(count, -1 if options.target is None else options.target, np.int64)


def _decode(files: Sequence[bytes], explainer: Explainer, limit: int) -> NDArray[np.float32]:
    size, wanted = {"height": explainer.height, "width": explainer.width}, preprocessing_of(explainer.card.parameters)
    with timed("pre"):
        return np.stack(
            [
                wanted.read(data, **size, pixel_limit=limit, pointer=f"/body/file/{index}")
                for index, data in enumerate(files)
            ]
        )


def _explaining(
    explainer: Explainer,
    pictures: NDArray[np.float32],
    options: ExplanationOptions,
    *,
    targets: NDArray[np.int64],
    layers: Sequence[str],
) -> Steps[Explained]:
    """Every method that was asked for, one after another, and the activation pattern."""
    settings: dict[str, Any] = {"targets": targets, "layers": layers, "seed": options.seed, "steps": options.steps}
    other = options.activation_pattern
    substitute = None if other is None else substitute_pictures(other, pictures.shape, seed=options.seed)
    found: dict[Method, Explanation] = {}
    for method in dict.fromkeys(options.method):
        if method is not Method.SRD or substitute is None:
            found[method] = yield from explainer.explaining(pictures, method, **settings)
    pattern = None
    if substitute is not None:
        shared_out = yield from explainer.explaining(pictures, Method.SRD, substitute=substitute, **settings)
        found |= {Method.SRD: shared_out} if Method.SRD in options.method else {}
        pattern = Pattern(str(other), shared_out.pattern_logits)
    return Explained(explainer, pictures, {method: found[method] for method in dict.fromkeys(options.method)}, pattern)
