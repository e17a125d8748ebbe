"""Both ways to exchange the weights of a session answer as the reference evaluator of ONNX does."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from services.security.bit_errors.faults import FaultModel
from services.security.bit_errors.perturbed_sessions import (
    WAYS,
    Signature,
    Way,
    WayTiming,
    choose_way,
    open_classifier,
    time_way,
)
from services.security.bit_errors.weight_memory import WeightMemory
from tests.support.weight_graphs import convolutional, pictures

SIGNATURE = Signature("pictures", "logits")
VARIANTS = pytest.mark.parametrize(
    ("dtype", "constants"), [(np.float32, False), (np.float16, False), (ml_dtypes.bfloat16, False), (np.float32, True)]
)


def reference(model: bytes, weights: dict[str, Any], batch: Any) -> Any:
    """The file with these weights written into it, computed without onnxruntime."""
    proto = onnx.load_model_from_string(model)
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.output[0] in weights:
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(weights[node.output[0]]))
    answers: Any = ReferenceEvaluator(proto).run(["logits"], {"pictures": batch})
    return answers[0]


@VARIANTS
@pytest.mark.parametrize("way", WAYS)
def test_every_load_changes_the_answers_to_those_of_the_reference(way: Way, dtype: Any, constants: bool) -> None:
    model = convolutional(dtype, constants=constants)
    memory, batch = WeightMemory.read(model), pictures(4)
    classifier = open_classifier(way, model, memory, SIGNATURE, threads=1)
    seen = []
    for seed in (1, 2, 1):
        weights = memory.perturbed(FaultModel(0.05), seed)
        classifier.load(weights)
        seen.append(classifier.run(batch))
        np.testing.assert_allclose(seen[-1], reference(model, weights, batch), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(seen[0], seen[2])
    assert np.abs(seen[0] - seen[1]).max() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_an_initialiser_that_is_an_input_too_is_exchanged(way: Way) -> None:
    proto = onnx.load_model_from_string(convolutional())
    for tensor in proto.graph.initializer:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model = bytes(proto.SerializeToString())
    memory = WeightMemory.read(model)
    classifier = open_classifier(way, model, memory, SIGNATURE, threads=1)
    weights = memory.perturbed(FaultModel(0.1), 5)
    classifier.load(weights)
    batch = pictures(2)
    np.testing.assert_allclose(classifier.run(batch), reference(model, weights, batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_without_weights_nothing_is_run(way: Way) -> None:
    model = convolutional()
    classifier = open_classifier(way, model, WeightMemory.read(model), SIGNATURE, threads=1)
    with pytest.raises(RuntimeError, match="no weights"):
        classifier.run(pictures(1))


@pytest.mark.parametrize("way", WAYS)
def test_timings_are_measured(way: Way) -> None:
    model = convolutional()
    memory = WeightMemory.read(model)
    timing = time_way(open_classifier(way, model, memory, SIGNATURE, threads=1), memory, pictures(8))
    assert timing.load_s > 0
    assert timing.network_s(3) == pytest.approx(timing.load_s + 3 * timing.batch_s)


def test_the_choice_depends_on_how_many_batches_a_network_sees() -> None:
    timings: dict[Way, WayTiming] = {
        "session_per_network": WayTiming(0.1, 0.05),
        "weights_as_inputs": WayTiming(0.01, 0.1),
    }
    assert choose_way(timings, batches=1) == "weights_as_inputs"
    assert choose_way(timings, batches=10) == "session_per_network"
