"""The models of chest films that can be asked here, released or uploaded, by their cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from services.medical.chest_xray.roles import FILM, OUTPUTS, PARAMETER, ChestFilmRole, read_role
from shared.problems import Problem, ServiceUnavailable, field_problem
from shared.runtime.cards import ModelReference, TensorDescription, UploadedCard, reference_of
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.role_models import RoleModels, caveats_of
from shared.runtime.models.sessions import OnnxModel

RELEASED: Final = "chest-xray-attention"
"""Name of the model that is asked where a request names none; where it is not here, the first by name is."""

_UNRELEASED_RETRY_S: Final = 60


@dataclass(frozen=True, slots=True)
class ChestModel:
    """A model of chest films.

    Attributes:
        model: what is run.
        role: what its card says of it.
        outputs: names of what a run answers, in its order.
        caveats: what every answer says.
    """

    model: OnnxModel
    role: ChestFilmRole
    outputs: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def reference(self) -> ModelReference:
        """How answers name it."""
        return reference_of(self.model.card)

    @property
    def training_data(self) -> str:
        """What it was trained on, as its card has it."""
        record = self.model.card.training
        return "; ".join(record.data) if record is not None and record.data else "not stated"


class ChestModels(RoleModels[ChestModel]):
    """Finds models of chest films by name."""

    def __init__(self) -> None:
        super().__init__(read_model, _default)


def read_model(model: OnnxModel) -> ChestModel:
    """A model as one of chest films, by its card.

    Raises:
        UnprocessableContent: it is none; the detail says what its card would have to say.
    """
    card = model.card
    try:
        role = read_role(card.parameters)
    except ValidationError as error:
        fault = error.errors()[0]
        place = "/".join(map(str, (PARAMETER, *fault["loc"])))
        raise _no_model(card, f"parameters/{place} of its card: {fault['msg']}") from None
    if role is None:
        raise _no_model(card, f"its card has no parameters.{PARAMETER}, which names classes, size and thresholds")
    _require_tensors(card, role)
    return ChestModel(model, role, tuple(one.name for one in card.outputs), caveats_of(card))


def _default(registry: ModelRegistry) -> str:
    names = [one.card.name for one in registry.entries if one.is_default and PARAMETER in one.card.parameters]
    if names:
        return RELEASED if RELEASED in names else names[0]
    if not registry.opened:
        raise ServiceUnavailable("The models are loading. /health/ready says when they are ready.", retry_after_s=5)
    detail = (
        f"No model of chest films is here: {RELEASED} is not released with this fleet. Upload one by POST /v1/models "
        f"whose card has parameters.{PARAMETER}."
    )
    raise ServiceUnavailable(detail, retry_after_s=_UNRELEASED_RETRY_S)


def _require_tensors(card: UploadedCard, role: ChestFilmRole) -> None:
    height, width = role.size
    match card.inputs:
        case [TensorDescription(name=name, dtype="float32", shape=[batch, 1, rows, columns])]:
            fits = name == FILM and isinstance(batch, str) and (rows, columns) == (height, width)
        case _:
            fits = False
    if not fits:
        raise _no_model(card, f"it needs one float32 input {FILM} [batch, 1, {height}, {width}]")
    outputs = {one.name for one in card.outputs}
    if outputs != set(OUTPUTS) or any(one.dtype != "float32" for one in card.outputs):
        raise _no_model(card, f"it needs the float32 outputs {', '.join(OUTPUTS)}")


def _no_model(card: UploadedCard, reason: str) -> Problem:
    return field_problem("/body/model", f"{card.name} cannot read chest films: {reason}.")
