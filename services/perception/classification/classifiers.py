"""The models that classify pictures here, each of whose cards is read once; `shared.fleet.classifiers` says how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from shared.datasets.traffic_sign_names import SIGNS
from shared.fleet.classifiers import ClassifierDescription, describe_classifier
from shared.runtime.cards import ModelReference
from shared.runtime.models.sessions import OnnxModel

SIGNS_MODEL: Final = "traffic-signs"
SIGNS_CAVEAT: Final = (
    "The classifier knows 43 German signs, cut out of photographs. Of anything else it names the sign that it finds "
    "most alike, however sure it sounds."
)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model that classifies pictures.

    Attributes:
        model: what is run.
        description: how it wants pictures, and what its answer means.
        labels: name of each class.
        caveats: what every answer says.
    """

    model: OnnxModel
    description: ClassifierDescription
    labels: Sequence[str]
    caveats: Sequence[str]

    @property
    def reference(self) -> ModelReference:
        """How answers name it."""
        return self.description.reference


class Classifiers:
    """Reads the card of each model once."""

    def __init__(self) -> None:
        self._read: WeakKeyDictionary[OnnxModel, Classifier] = WeakKeyDictionary()

    def of(self, model: OnnxModel) -> Classifier:
        """What a model is as a classifier.

        Raises:
            UnprocessableContent: it is none; the detail says what its card would have to say.
        """
        known = self._read.get(model)
        if known is None:
            known = self._read[model] = read_classifier(model)
        return known


def read_classifier(model: OnnxModel) -> Classifier:
    """A model as a classifier, by its card; see `Classifiers.of`."""
    card, description = model.card, describe_classifier(model.card)
    if card.name != SIGNS_MODEL:
        return Classifier(model, description, description.labels, description.caveats)
    unnamed = "classes" not in card.parameters and len(description.labels) == len(SIGNS)
    return Classifier(model, description, SIGNS if unnamed else description.labels, (SIGNS_CAVEAT,))
