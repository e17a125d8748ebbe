"""What the card of a model of chest films says of it: `parameters.chest_xray`.

Its ONNX graph has one input `film`, float32 (n, 1, height, width) in [0, 1], of a fixed size, as
`films.prepare_film` makes it. Its outputs, all float32:

- `logits` (n, 3), divided by the temperature already, in the order of CLASSES
- `opacity` (n), a calibrated logit: an opacity of the lung against none
- `attention` (n, height, width), a density: at least 0, and 1 in sum
- `evidence` (n, 3, h, w): for each class, where the first encoder found what speaks for it (Grad-CAM before its
  rectifier), over the same field as the input
- `frontal` (n), a logit: a frontal film of a chest, upright, bones white
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.medical.chest_xray.films import PREPROCESSING

PARAMETER: Final = "chest_xray"

FILM: Final = "film"
LOGITS: Final = "logits"
OPACITY: Final = "opacity"
ATTENTION: Final = "attention"
EVIDENCE: Final = "evidence"
FRONTAL: Final = "frontal"
OUTPUTS: Final = (LOGITS, OPACITY, ATTENTION, EVIDENCE, FRONTAL)

CLASSES: Final = ("normal", "chf_like", "pneumonia")
"""Mined from reports: `chf_like` is edema or cardiomegaly, signs that congestive heart failure would show."""

LARGEST_SIDE: Final = 2048
"""Of what a network sees, in pixels."""

_Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=32, le=LARGEST_SIDE)]


class ChestFilmRole(BaseModel):
    """How a model of chest films wants them, what it tells apart, and what it refuses."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    classes: list[str] = Field(description="Names, in the order of the logits", min_length=3, max_length=3)
    size: tuple[_Side, _Side] = Field(description="Height and width of what the network sees, in pixels")
    frontal_threshold: float = Field(
        description="Logit `frontal` below which a film is refused", allow_inf_nan=False, ge=-100, le=100
    )
    false_refusal_rate: _Rate = Field(description="Share of held-out frontal films that this threshold refuses")
    false_refusal_data: str = Field(
        default="held-out frontal films", description="What that was measured on, as it stands in a sentence"
    )
    preprocessing: str = Field(default=PREPROCESSING, description="Version of the preparation of films")

    @model_validator(mode="after")
    def _require_known(self) -> ChestFilmRole:
        if tuple(self.classes) != CLASSES:
            raise ValueError(f"classes are {', '.join(CLASSES)}, in this order")
        if self.preprocessing != PREPROCESSING:
            raise ValueError(f"films are prepared by {PREPROCESSING} here, and the model was trained on another")
        return self


def read_role(parameters: dict[str, Any]) -> ChestFilmRole | None:
    """What the parameters of a card state; None where they state nothing of chest films.

    Raises:
        pydantic.ValidationError: they state something that is not understood.
    """
    stated = parameters.get(PARAMETER)
    return None if stated is None else ChestFilmRole.model_validate(stated)
