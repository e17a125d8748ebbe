"""The classifiers of campaigns: of the fleet, or posted; verified before anything opens them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson
from pydantic import ConfigDict, ValidationError

from services.released import open_artifacts, released_folders
from services.security.bit_error_campaigns.outlines import Outline, outline_of
from services.security.bit_error_campaigns.picture_inputs import (
    PictureParameters,
    UnusableClassifier,
    card_parameters,
)
from services.security.bit_error_campaigns.schemas import CampaignTask, ModelUsed
from services.security.bit_error_campaigns.settings import CampaignSettings
from services.security.bit_errors.faults import FaultKind, Layout
from shared.fleet.artifacts import ModelArtifact, ModelArtifacts, model_artifact
from shared.http.errors import field_errors, findings
from shared.problems import Conflict, UnprocessableContent, field_problem
from shared.runtime.inspection.preparation import TrialLimits, prepare, prepare_async
from shared.runtime.inspection.verification import Refused, inspect
from shared.service_state import ServiceState
from shared.settings import Settings
from shared.storage.blobs import BlobStore

POSTED: Final = "posted"
"""Name of a model that has none."""

_OUTLINES: Final = 64
_AT_ONCE: Final = 2


class PostedParameters(PictureParameters):
    """What the owner of a posted model says of it; a name that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class CampaignModel:
    """A classifier whose file was verified.

    Attributes:
        used: how answers name it.
        content: of the file, prepared (`shared.runtime.inspection.preparation`).
        parameters: how it takes pictures.
        field: of the form, to blame for what is wrong with it.
    """

    used: ModelUsed
    content: bytes
    parameters: PictureParameters
    field: str


class CampaignModels:
    """Finds models and outlines them; what it has found out of a model it remembers.

    Args:
        artifacts: models of the fleet.
        limits: of the processes in which models are outlined.
    """

    def __init__(self, artifacts: ModelArtifacts, limits: TrialLimits) -> None:
        self._artifacts, self._limits = artifacts, limits
        self.settings = CampaignSettings()
        self._outlines: OrderedDict[tuple[str, ...], Outline] = OrderedDict()
        self._processes = anyio.CapacityLimiter(_AT_ONCE)

    async def find(self, name: str, version: str | None) -> CampaignModel:
        """A model of the fleet.

        Raises:
            NotFound: there is none.
            UnprocessableContent: its card does not say how it takes pictures.
            ServiceUnavailable: its file cannot be read.
        """
        artifact = await self._artifacts.find(name, version)
        content = await anyio.to_thread.run_sync(artifact.read)
        return CampaignModel(
            _used(artifact), await self._prepared(content, "model"), _parameters_of_card(artifact), "model"
        )

    async def take(self, content: bytes, parameters: str | None) -> CampaignModel:
        """A posted model.

        Raises:
            UnprocessableContent: the file is none that is opened here, or parameters are none of a classifier.
        """
        sha256 = await anyio.to_thread.run_sync(lambda: hashlib.sha256(content).hexdigest())
        used = ModelUsed(name=POSTED, version=None, sha256=sha256)
        return CampaignModel(used, await self._prepared(content, "file"), parse_parameters(parameters), "file")

    async def outline(self, model: CampaignModel, *, kind: FaultKind, layout: Layout) -> Outline:
        """What a campaign has to know of a model.

        Raises:
            UnprocessableContent: no campaign can be run on it.
        """
        key = (model.used.sha256, model.parameters.model_dump_json(), kind, layout)
        if key not in self._outlines:
            try:
                async with self._processes:
                    outline = await outline_of(
                        model.content, model.parameters, kind=kind, layout=layout, limits=self._limits
                    )
            except UnusableClassifier as error:
                raise unusable(model.field, error) from None
            self._outlines[key] = outline
            while len(self._outlines) > _OUTLINES:
                self._outlines.popitem(last=False)
        self._outlines.move_to_end(key)
        return self._outlines[key]

    async def _prepared(self, content: bytes, field: str) -> bytes:
        try:
            facts = await anyio.to_thread.run_sync(inspect, content)
            return await prepare_async(content, facts, self._limits)
        except Refused as refused:
            raise _blaming(refused, field) from None


def read_model(task: CampaignTask, settings: Settings, blobs: BlobStore) -> CampaignModel:
    """The model of a job, in a worker. Blocks.

    Raises:
        NotFound: it is no longer there.
        Conflict: there is another file in its place.
        ServiceUnavailable: its file cannot be read.
    """
    if task.file is not None:
        parameters: PictureParameters = PostedParameters.model_validate(task.parameters or {})
        content, field = blobs.get(task.file), "file"
    else:
        artifact = model_artifact(settings, released_folders(settings), task.model.name, task.model.version)
        content, parameters, field = artifact.read(), _parameters_of_card(artifact), "model"
    if hashlib.sha256(content).hexdigest() != task.model.sha256:
        raise Conflict(f"{task.model.name} {task.model.version} is another file than when the campaign was asked for.")
    try:
        prepared = prepare(content, inspect(content), TrialLimits.of(settings))
    except Refused as refused:
        raise _blaming(refused, field) from None
    return CampaignModel(task.model, prepared, parameters, field)


def parse_parameters(text: str | None) -> PostedParameters:
    """What a caller says of a posted model.

    Raises:
        UnprocessableContent: no JSON object, or not such parameters.
    """
    try:
        read: Any = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise field_problem("/body/parameters", f"It is not JSON: {error}.") from None
    try:
        return PostedParameters.model_validate(read)
    except ValidationError as error:
        errors = field_errors(findings(error, "body", "parameters"), PostedParameters, depth=2)
        raise UnprocessableContent(
            "`parameters` does not say how a classifier takes pictures.", errors=errors
        ) from None


def unusable(field: str, error: Exception) -> UnprocessableContent:
    """A model that no campaign can be run on."""
    return field_problem(f"/body/{field}", f"No campaign can be run on this model: {error}.")


@asynccontextmanager
async def open_campaign_models(service: ServiceState) -> AsyncIterator[CampaignModels]:
    """The models of a service, as long as it is."""
    async with open_artifacts(service) as artifacts:
        yield CampaignModels(artifacts, TrialLimits.of(service.settings))


def _used(artifact: ModelArtifact) -> ModelUsed:
    return ModelUsed(name=artifact.card.name, version=artifact.card.version, sha256=artifact.sha256)


def _parameters_of_card(artifact: ModelArtifact) -> PictureParameters:
    card = artifact.card
    try:
        return card_parameters(card.parameters, card.inputs[0].range if card.inputs else None)
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        raise field_problem(
            "/body/model", f"parameters/{place} of the card of {card.name} {card.version}: {error.errors()[0]['msg']}."
        ) from None


def _blaming(refused: Refused, field: str) -> UnprocessableContent:
    """A refusal as an answer to a request whose model is in another field than an upload's."""
    problem = refused.problem()
    for error in problem.errors:
        error.pointer = f"/body/{field}"
    return problem
