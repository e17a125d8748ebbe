"""Every method on the released classifier, each against what its definition says of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from services.uncertainty.explanation.graphs import Graph, GraphKind, TrustedSource
from services.uncertainty.explanation.inference import Explainer, substitute_pictures
from services.uncertainty.explanation.maps import enlarged
from services.uncertainty.explanation.methods import DESCRIPTIONS, Method
from services.uncertainty.explanation.training.randomisation import randomised
from shared.runtime.cards import read_card, read_weights
from tests.unit.services.uncertainty.explanation.conftest import pictures


def test_every_method_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Method)


@pytest.mark.parametrize("method", Method)
def test_a_map_for_each_picture_and_the_logits_of_the_model(
    explainer: Explainer, classifier: onnx.ModelProto, method: Method
) -> None:
    batch = pictures()
    found = explainer.explain(batch, method, steps=3)
    plain = onnxruntime.InferenceSession(classifier.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found.logits, plain.run(["logits"], {"pictures": batch})[0], rtol=1e-4, atol=1e-4)
    assert found.explained.tolist() == found.logits.argmax(axis=1).tolist()
    assert found.relevance.shape == (3, 32, 32)
    assert found.relevance.dtype == np.float32
    assert np.isfinite(found.relevance).all()


def test_sums(explainer: Explainer) -> None:
    """Sharing ratios keep the logit, contrast makes it zero, integrated gradients the difference to black."""
    batch, targets = pictures(), np.array([14, 3, 40], np.int64)
    found = explainer.explain(batch, Method.SRD, targets=targets)
    logits = found.logits[np.arange(3), targets]
    np.testing.assert_allclose(found.relevance.sum(axis=(1, 2)), logits, rtol=1e-3)
    contrast = explainer.explain(batch, Method.SRD_CONTRAST, targets=targets)
    np.testing.assert_allclose(contrast.relevance.sum(axis=(1, 2)), 0, atol=1e-3)
    black = explainer.explain(np.zeros_like(batch[:1]), Method.CAM).logits[0, 14]
    # Hundreds of steps: near black, this drawn sign's logit is steep.
    integrated = explainer.explain(batch[:1], Method.INTEGRATED_GRADIENTS, targets=targets[:1], steps=1000)
    np.testing.assert_allclose(integrated.relevance.sum(), logits[0] - black, rtol=0.05)


def test_layers(explainer: Explainer) -> None:
    batch = pictures(2)
    found = explainer.explain(batch, Method.SRD, layers=explainer.layers)
    assert {name: one.shape[1:] for name, one in found.layers.items()} == explainer.sizes
    np.testing.assert_array_equal(found.layers[explainer.layers[0]], found.relevance)
    last = explainer.layers[-1]
    np.testing.assert_allclose(found.layers[last].sum(axis=(1, 2)), found.logits.max(axis=1), rtol=1e-4)
    coarse = explainer.explain(batch, Method.GRAD_CAM, layers=[last])
    np.testing.assert_array_equal(enlarged(coarse.layers[last], height=32, width=32), coarse.relevance)


def test_grad_cam_at_the_head_is_the_class_map_without_what_is_negative(
    explainer: Explainer, classifier: onnx.ModelProto
) -> None:
    """Selvaraju et al. 2017, section 3.1: the same but for ReLU and bias, where a mean feeds the head."""
    last = explainer.layers[-1]
    batch = pictures(2)
    gradient = explainer.explain(batch, Method.GRAD_CAM, layers=[last]).layers[last]
    shared_out = explainer.explain(batch, Method.SRD, layers=[last])
    head = next(item for item in classifier.graph.node if item.op_type == "Gemm")
    bias = onnx.numpy_helper.to_array(next(item for item in classifier.graph.initializer if item.name == head.input[2]))
    without = shared_out.layers[last] - bias[shared_out.explained][:, None, None] / 16
    np.testing.assert_allclose(gradient, np.maximum(without, 0), rtol=1e-3, atol=1e-4)


def test_the_pattern_of_a_picture_with_itself_gives_its_logits(explainer: Explainer) -> None:
    batch = pictures()
    alone = explainer.pattern_logits(batch, batch)
    beside = explainer.explain(batch, Method.SRD, substitute=batch)
    np.testing.assert_allclose(alone, beside.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(beside.pattern_logits, alone, rtol=1e-5, atol=1e-5)
    other = explainer.pattern_logits(batch, substitute_pictures("noise", batch.shape, seed=1))
    assert np.abs(other - alone).max() > 0.1


@pytest.mark.parametrize(("kind", "value"), [("black", 0.0), ("grey", 0.5), ("white", 1.0)])
def test_substitutes(kind: str, value: float) -> None:
    assert (substitute_pictures(kind, (2, 3, 4, 4), seed=0) == value).all()


def test_dead_pictures_give_numbers(explainer: Explainer) -> None:
    """Pictures of one colour, where whole vectors die; the published code answers NaN."""
    flat = np.stack([np.full((3, 32, 32), value, np.float32) for value in (0.0, 0.33, 1.0)])
    for method in Method:
        assert np.isfinite(explainer.explain(flat, method, steps=2).relevance).all(), method


def test_other_weights_give_another_map(explainer: Explainer, classifier: onnx.ModelProto) -> None:
    batch, targets = pictures(), np.array([14, 14, 14], np.int64)
    shuffled = Explainer(explainer.card, TrustedSource(randomised(classifier, 1.0).SerializeToString), threads=1)
    for method in set(Method) - {Method.RANDOM, Method.CENTRE}:
        both = [one.explain(batch, method, targets=targets, steps=5).relevance for one in (explainer, shuffled)]
        correlation = np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1]
        assert abs(correlation) < 0.9 or not np.isfinite(correlation), method


def test_only_the_last_layers_are_shuffled_first(explainer: Explainer, classifier: onnx.ModelProto) -> None:
    changed = randomised(classifier, 0.01)
    before = {item.name: item for item in classifier.graph.initializer}
    differ = [item.name for item in changed.graph.initializer if item != before[item.name]]
    head = next(item for item in changed.graph.node if item.op_type == "Gemm")
    assert differ == [head.input[1]]


def test_card_of_the_release_is_the_one_explained(released: object, explainer: Explainer) -> None:
    card = read_card(released)  # type: ignore[arg-type]
    assert explainer.card == card
    assert read_weights(released, card)  # type: ignore[arg-type]


def test_a_graph_that_many_threads_want_is_made_once(released: Path) -> None:
    card = read_card(released)
    fresh = Explainer(card, TrustedSource(partial(read_weights, released, card)), threads=1)
    together = threading.Barrier(8)

    def want(_: int) -> Graph:
        together.wait(10)
        return fresh._graphs.get(GraphKind.PATTERNS)

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(want, range(8)))
    assert all(one is made[0] for one in made)


def test_integrated_gradients_say_how_far_they_are_from_adding_up(explainer: Explainer) -> None:
    batch = np.random.default_rng(5).random((2, 3, explainer.height, explainer.width), np.float32)
    targets = np.array([0, 1], np.int64)
    black = explainer.explain(np.zeros_like(batch), Method.SRD, targets=targets).logits
    few, many = (
        explainer.explain(batch, Method.INTEGRATED_GRADIENTS, targets=targets, steps=steps) for steps in (1, 400)
    )
    rows = np.arange(2)
    for found in (few, many):
        risen = found.logits[rows, targets] - black[rows, targets]
        delta = found.relevance.sum(axis=(1, 2)) - risen
        np.testing.assert_allclose(found.convergence_delta, delta, atol=1e-3)
    assert np.abs(many.convergence_delta).max() < np.abs(few.convergence_delta).max()
    assert not len(explainer.explain(batch, Method.SRD).convergence_delta)
