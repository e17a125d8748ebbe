"""Refuses what is no frontal chest film, by the network's own judgement and the threshold of its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.medical.chest_xray.inference import Reading, sigmoid
from services.medical.chest_xray.roles import ChestFilmRole
from shared.problems import FieldError, UnprocessableContent


@dataclass(frozen=True, slots=True)
class Screening:
    """Whether a film may be read.

    Attributes:
        logit: the network's `frontal`.
        threshold: least logit that passes.
        false_refusal_rate: share of held-out frontal films that the threshold refuses.
        false_refusal_data: what that was measured on.
    """

    logit: float
    threshold: float
    false_refusal_rate: float
    false_refusal_data: str

    @classmethod
    def of(cls, reading: Reading, role: ChestFilmRole) -> Screening:
        """Judge a film by the card of the model that read it."""
        return cls(reading.frontal, role.frontal_threshold, role.false_refusal_rate, role.false_refusal_data)

    @property
    def passed(self) -> bool:
        """Whether it looks like a frontal chest film."""
        return self.logit >= self.threshold

    @property
    def probability(self) -> float:
        """The logit as a number from 0 to 1."""
        return sigmoid(self.logit)

    @property
    def reason(self) -> str:
        """Why a film is refused, in words."""
        return (
            "This is not a frontal chest film, upright and with bones white, as far as the model can tell: its score "
            f"is {self.probability:.3f} (logit {self.logit:.2f}), and at least {sigmoid(self.threshold):.3f} "
            f"({self.threshold:.2f}) is needed. Of {self.false_refusal_data}, {self.false_refusal_rate:.1%} are "
            "refused by mistake"
        )

    @property
    def caveat(self) -> str:
        """What an answer says that was asked for nevertheless."""
        return f"{self.reason}; it was read because of `screen=false`, and its figures may mean nothing."


def require_passed(screenings: Sequence[Screening], pointers: Sequence[str]) -> None:
    """Refuse a request one of whose films does not pass.

    Raises:
        UnprocessableContent: names each of them, its score, the threshold and how often that errs.
    """
    errors = [
        FieldError(pointer=pointer, detail=_refusal(one))
        for one, pointer in zip(screenings, pointers, strict=True)
        if not one.passed
    ]
    if errors:
        raise UnprocessableContent(errors[0].detail, errors=errors)


def _refusal(screening: Screening) -> str:
    return f"{screening.reason}. If it is one, send `screen=false` to have it read."
