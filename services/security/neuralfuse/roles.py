"""What the card of a model says of its part in NeuralFuse: `parameters.neuralfuse`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.security.bit_errors.faults import FaultKind, Layout
from shared.runtime.cards import UploadedCard

PARAMETER: Final = "neuralfuse"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BaseRole(_Part):
    """A classifier that is protected."""

    role: Literal["base"] = "base"
    network: str = Field(description="Its network, such as vgg11", examples=["vgg11"])


class TrainingFaults(_Part):
    """The bit errors that a generator was trained with."""

    kind: FaultKind = Field(description="What a faulty cell does")
    layout: Layout = Field(description="How cells belong to weights")


class GeneratorRole(_Part):
    """A network F that pictures pass before a classifier whose weights have bit errors."""

    role: Literal["generator"] = "generator"
    architecture: str = Field(description="Its architecture, as the paper names it", examples=["UNetL"])
    base: str = Field(description="Name of the classifier that it was trained for")
    base_sha256: str = Field(description="Digest of that classifier's file")
    bit_error_rate: float = Field(description="That it was trained for", ge=0, le=1, examples=[0.01])
    weight: float = Field(description="Lambda: the weight of the loss with bit errors beside that without", ge=0)
    faults: TrainingFaults = Field(description="The bit errors that it was trained with")


Role = BaseRole | GeneratorRole

_ROLES: Final[TypeAdapter[Role]] = TypeAdapter(Annotated[Role, Field(discriminator="role")])


def role_of(card: UploadedCard) -> Role | None:
    """The part that a model has; None where its card says of none, or what is not understood."""
    stated: Any = card.parameters.get(PARAMETER)
    if stated is None:
        return None
    try:
        return _ROLES.validate_python(stated)
    except ValidationError:
        return None
