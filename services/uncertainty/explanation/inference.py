"""Explaining a classifier of the fleet: which graphs each method runs, and what it makes of their outputs.

Its file is the one that is served, compared with its digest before it is used. No weights are stored a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.explanation.graphs import (
    ExplanationGraphs,
    Graph,
    GraphKind,
    GraphRun,
    GraphSource,
    Steps,
    run_steps,
)
from services.uncertainty.explanation.maps import centre_maps, enlarged, random_maps
from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.onnx_graphs.baselines import GRADIENT, NORMALISED
from services.uncertainty.explanation.onnx_graphs.conversion import (
    CONTRAST,
    EXPLAINED,
    PATTERN_LOGITS,
    RELEVANCE,
    SUBSTITUTE,
    TARGET,
    layer_output,
)
from shared.runtime.cards import UploadedCard

Pictures = NDArray[np.float32]

LARGEST_BATCH = 8
"""Most pictures in one request."""

INTEGRATION_STEPS = 50
"""Points at which integrated gradients takes the gradient."""

_GRAPHS_WITH_RELEVANCE = {
    Method.CAM: GraphKind.CLASS_MAP,
    Method.LRP_EPSILON: GraphKind.LRP_EPSILON,
    Method.LRP_Z_PLUS: GraphKind.LRP_Z_PLUS,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a method says of a batch.

    Attributes:
        logits: float32 (count, classes).
        explained: which class of each picture, int64 (count,).
        relevance: of each pixel, signed, float32 (count, height, width); coarse maps are enlarged.
        layers: relevance at layers, as it is there, (count, rows, columns), by name.
        pattern_logits: of the substitutes under the pictures' activation patterns, (count, classes); empty unless asked
            for.
        convergence_delta: of integrated gradients, (count,): the sum of the map less the difference of the logit to
            that of black, which would be 0 after infinitely many steps; empty for other methods.
    """

    logits: NDArray[np.float32]
    explained: NDArray[np.int64]
    relevance: NDArray[np.float32]
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    pattern_logits: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    convergence_delta: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class Explainer:
    """A classifier and the graphs that explain it.

    Args:
        card: of the classifier.
        source: of its graphs.
        threads: threads that one run computes with.

    Attributes:
        layers: names of the layers that have a relevance, from the input up.
        sizes: height and width of each.

    Raises:
        UnsupportedNetwork: a part of the classifier has no rule.
    """

    def __init__(self, card: UploadedCard, source: GraphSource, *, threads: int) -> None:
        self.card = card
        outline = source.outline()
        self.layers, self.sizes = outline.layers, dict(outline.sizes)
        self.height, self.width = outline.sizes[outline.input]
        self._last = outline.last
        self._graphs = ExplanationGraphs(card, source, self.layers, threads=threads)
        self._input, self._logits = card.inputs[0].name, card.outputs[0].name

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """What it has made by now."""
        return self._graphs.made

    def drop_graphs(self) -> tuple[Graph, ...]:
        """Let go of what it has made, and say what that was; a graph that is asked for again is made anew."""
        return self._graphs.drop()

    def warm_up(self) -> None:
        """Make the session of the default method and run it once: half a second.

        The others are made when they are first asked for, 0.2 to 0.9 s on two cores: each takes 20 to 90 MB.
        """
        self.explain(np.zeros((1, 3, self.height, self.width), np.float32), Method.SRD)

    def explain(
        self,
        pictures: Pictures,
        method: Method,
        *,
        targets: NDArray[np.int64] | None = None,
        layers: Sequence[str] = (),
        substitute: Pictures | None = None,
        seed: int = 0,
        steps: int = INTEGRATION_STEPS,
    ) -> Explanation:
        """Relevance of each pixel for one class of each picture, computed in this thread; see `explaining`."""
        return run_steps(
            self.explaining(
                pictures, method, targets=targets, layers=layers, substitute=substitute, seed=seed, steps=steps
            )
        )

    def explaining(
        self,
        pictures: Pictures,
        method: Method,
        *,
        targets: NDArray[np.int64] | None = None,
        layers: Sequence[str] = (),
        substitute: Pictures | None = None,
        seed: int = 0,
        steps: int = INTEGRATION_STEPS,
    ) -> Steps[Explanation]:
        """Relevance of each pixel for one class of each picture.

        Args:
            pictures: float32 in [0, 1], (count, 3, height, width).
            method: how.
            targets: the class of each, (count,); -1, and None for all, is the predicted one.
            layers: layers whose relevance is wanted too, names of `self.layers`; only where the method has them.
            substitute: pictures to run under the patterns of these, in the same shape; only by `Method.SRD`.
            seed: of the random maps.
            steps: of integrated gradients.
        """
        feed = {self._input: pictures, TARGET: np.full(len(pictures), -1, np.int64) if targets is None else targets}
        if method in {Method.SRD, Method.SRD_CONTRAST}:
            return self._share(feed, contrast=method is Method.SRD_CONTRAST, layers=layers, substitute=substitute)
        if method is Method.GRAD_CAM:
            return self._grad_cam(feed, layers)
        if method is Method.INTEGRATED_GRADIENTS:
            return self._integrate(feed, steps)
        if method is Method.INPUT_X_GRADIENT:
            return self._multiply_gradient(feed)
        if method in {Method.RANDOM, Method.CENTRE}:
            return self._draw(feed, method, seed)
        return self._read_relevance(feed, _GRAPHS_WITH_RELEVANCE[method])

    def pattern_logits(self, pictures: Pictures, substitutes: Pictures) -> NDArray[np.float32]:
        """Logits (count, classes) of the substitutes under the pictures' activation patterns, without any relevance."""
        feed = {self._input: pictures, SUBSTITUTE: substitutes, TARGET: np.full(len(pictures), -1, np.int64)}
        return run_steps(self._run(GraphKind.PATTERNS, feed))[PATTERN_LOGITS]

    def _share(
        self, feed: dict[str, Any], *, contrast: bool, layers: Sequence[str], substitute: Pictures | None
    ) -> Steps[Explanation]:
        kind = GraphKind.SRD_LAYERS if layers else GraphKind.SRD
        if substitute is not None:
            feed |= {SUBSTITUTE: substitute}
            kind = GraphKind.SRD_PATTERNS
        found = yield from self._run(kind, feed, common={CONTRAST: np.array([contrast], np.float32)})
        chosen = {layer: found[layer_output(layer)] for layer in layers}
        answer = self._answer(found, found[RELEVANCE], chosen)
        return answer if substitute is None else replace(answer, pattern_logits=found[PATTERN_LOGITS])

    def _grad_cam(self, feed: dict[str, Any], layers: Sequence[str]) -> Steps[Explanation]:
        found = yield from self._run(GraphKind.GRADIENT, feed)
        chosen = {layer: found[layer_output(layer)] for layer in layers}
        return self._answer(found, found[layer_output(self._last)], chosen)

    def _integrate(self, feed: dict[str, Any], steps: int) -> Steps[Explanation]:
        """Midpoint rule on the way from black; the normalisation is linear, so the way is straight behind it too."""
        ends = yield from self._run(GraphKind.GRADIENT, feed)
        darkness = {self._input: np.zeros_like(feed[self._input][:1]), TARGET: np.zeros(1, np.int64)}
        black = yield from self._run(GraphKind.GRADIENT, darkness)
        total = np.zeros_like(ends[GRADIENT])
        for index in range(steps):
            point = {self._input: feed[self._input] * np.float32((index + 0.5) / steps), TARGET: ends[EXPLAINED]}
            total += (yield from self._run(GraphKind.GRADIENT, point))[GRADIENT]
        relevance = (total / np.float32(steps) * (ends[NORMALISED] - black[NORMALISED])).sum(axis=1)
        rows = np.arange(len(relevance))
        risen = ends[self._logits][rows, ends[EXPLAINED]] - black[self._logits][0, ends[EXPLAINED]]
        delta = relevance.sum(axis=(1, 2), dtype=np.float64) - risen
        return replace(self._answer(ends, relevance), convergence_delta=delta.astype(np.float32))

    def _multiply_gradient(self, feed: dict[str, Any]) -> Steps[Explanation]:
        found = yield from self._run(GraphKind.GRADIENT, feed)
        return self._answer(found, (found[NORMALISED] * found[GRADIENT]).sum(axis=1))

    def _draw(self, feed: dict[str, Any], method: Method, seed: int) -> Steps[Explanation]:
        count, size = len(feed[self._input]), {"height": self.height, "width": self.width}
        found = yield from self._run(GraphKind.CLASS_MAP, feed)
        maps = random_maps(count, seed=seed, **size) if method is Method.RANDOM else centre_maps(count, **size)
        return self._answer(found, maps)

    def _read_relevance(self, feed: dict[str, Any], kind: GraphKind) -> Steps[Explanation]:
        found = yield from self._run(kind, feed)
        return self._answer(found, found[RELEVANCE])

    def _answer(
        self,
        found: Mapping[str, NDArray[Any]],
        relevance: NDArray[Any],
        layers: Mapping[str, NDArray[Any]] | None = None,
    ) -> Explanation:
        maps = enlarged(relevance.astype(np.float32), height=self.height, width=self.width)
        return Explanation(found[self._logits], found[EXPLAINED], maps, dict(layers or {}))

    def _run(
        self, kind: GraphKind, feed: Mapping[str, Any], *, common: Mapping[str, Any] | None = None
    ) -> Steps[dict[str, NDArray[Any]]]:
        graph = self._graphs.get(kind)
        outputs = yield GraphRun(graph.model, feed, common or {})
        return dict(zip(graph.outputs, outputs, strict=True))


def substitute_pictures(kind: str, shape: tuple[int, ...], *, seed: int) -> Pictures:
    """Pictures to run under the activation pattern of others.

    Args:
        kind: black, grey, white or noise (uniform).
        shape: (count, 3, height, width).
        seed: of the noise.
    """
    if kind == "noise":
        return np.random.default_rng(seed).random(shape, dtype=np.float32)
    return np.full(shape, {"black": 0.0, "grey": 0.5, "white": 1.0}[kind], np.float32)


def probabilities(logits: NDArray[np.float32], card: UploadedCard) -> NDArray[np.float64]:
    """Softmax over the card's temperature, (count, classes)."""
    scaled = logits.astype(np.float64) / float(cast("float", card.parameters.get("temperature", 1.0)))
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    chances: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return chances
