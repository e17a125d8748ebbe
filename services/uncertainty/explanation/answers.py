"""What the routes say of explanations: in words and numbers, as an array, as a sheet of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.explanation.inference import Explainer, Explanation, probabilities
from services.uncertainty.explanation.maps import gini, peak, rank_correlation
from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.rendering import overlay
from services.uncertainty.explanation.schemas import (
    ExplanationAnswer,
    LayerRelevance,
    PatternPrediction,
    PictureExplanation,
    RelevanceMap,
    Score,
)
from shared.imaging.pictures import encode_png
from shared.imaging.sheets import Panel, sheet
from shared.runtime.cards import reference_of

CAVEATS = [
    "A map says how a method shares out this network's logit; it is no proof of what the network relies on.",
    "Signs and scales differ between methods: compare where relevance lies, not its numbers.",
]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Logits float32 (count, classes) of a substitute, by its name, under the activation pattern of each picture."""

    substitute: str
    logits: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Explained:
    """A batch and all that was computed of it.

    Attributes:
        explainer: the model.
        pictures: float32 in [0, 1], (count, 3, height, width).
        found: an explanation for each method asked for, in the order asked.
        pattern: what came of the activation patterns alone, where asked for.
    """

    explainer: Explainer
    pictures: NDArray[np.float32]
    found: Mapping[Method, Explanation]
    pattern: Pattern | None = None

    @property
    def first(self) -> Explanation:
        """Logits and classes are the same whatever the method."""
        return next(iter(self.found.values()))


def describe(explained: Explained) -> ExplanationAnswer:
    """The answer in numbers."""
    return ExplanationAnswer(
        explanations=[_picture(explained, index) for index in range(len(explained.pictures))],
        height=explained.explainer.height,
        width=explained.explainer.width,
        model=reference_of(explained.explainer.card),
        caveats=CAVEATS,
    )


def stacked(explained: Explained) -> NDArray[np.float32]:
    """All maps, float32 (pictures, methods, height, width)."""
    return np.stack([one.relevance for one in explained.found.values()], axis=1)


def drawn(explained: Explained) -> bytes:
    """A PNG: each picture and beside it the overlay of each method."""
    rows = []
    for index, picture in enumerate(explained.pictures):
        answer = _scores(explained, explained.first.logits, index)
        plain = np.round(255 * picture.transpose(1, 2, 0)).astype(np.uint8)
        predicted, target = (
            answer[int(label)] for label in (explained.first.logits[index].argmax(), explained.first.explained[index])
        )
        panels = [Panel(plain, f"{predicted.name}\n{predicted.probability:.1%}")]
        for method, one in explained.found.items():
            panels.append(Panel(overlay(picture, one.relevance[index]), f"{method.value}\n{target.name}"))
        rows.append(panels)
    return encode_png(sheet(rows))


def _picture(explained: Explained, index: int) -> PictureExplanation:
    first = explained.first
    scores = _scores(explained, first.logits, index)
    predicted = int(first.logits[index].argmax())
    return PictureExplanation(
        index=index,
        predicted=scores[predicted],
        explained=scores[int(first.explained[index])],
        maps=[_map(explained, method, index) for method in explained.found],
        activation_pattern=_pattern(explained, index, predicted),
    )


def _scores(explained: Explained, logits: NDArray[np.float32], index: int) -> list[Score]:
    card = explained.explainer.card
    names = card.parameters.get("classes")
    chances = probabilities(logits[[index]], card)[0]
    return [
        Score(
            class_id=label,
            name=str(names[label]) if isinstance(names, list) and label < len(names) else str(label),
            probability=float(chances[label]),
            logit=float(logits[index, label]),
        )
        for label in range(logits.shape[1])
    ]


def _map(explained: Explained, method: Method, index: int) -> RelevanceMap:
    one = explained.found[method]
    relevance = one.relevance[index]
    size = float(np.abs(relevance).sum())
    return RelevanceMap(
        method=method,
        relevance=relevance.tolist(),
        total=float(relevance.sum()),
        convergence_delta=float(one.convergence_delta[index]) if len(one.convergence_delta) else None,
        positive_share=float(np.maximum(relevance, 0).sum()) / size if size else None,
        gini=gini(relevance),
        peak=peak(relevance),
        layers=[
            LayerRelevance(layer=name, relevance=layer[index].tolist(), total=float(layer[index].sum()))
            for name, layer in one.layers.items()
        ],
        rank_correlation={
            other: rank_correlation(relevance, further.relevance[index])
            for other, further in explained.found.items()
            if other is not method
        },
    )


def _pattern(explained: Explained, index: int, predicted: int) -> PatternPrediction | None:
    if explained.pattern is None:
        return None
    logits = explained.pattern.logits
    label = int(logits[index].argmax())
    score = _scores(explained, logits, index)[label]
    return PatternPrediction(substitute=explained.pattern.substitute, predicted=score, keeps_class=label == predicted)
