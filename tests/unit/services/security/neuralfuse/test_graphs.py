"""Graphs that another process prepares, counts and fuses: as when it is done here, and what is wrong with some."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.security.bit_errors.faults import FaultModel
from services.security.bit_errors.weight_memory import WeightMemory
from services.security.neuralfuse.graphs import UnusableGraph, count_graph, fuse_graphs, prepare_graph
from services.security.neuralfuse.seam import Seam
from shared.runtime.inspection.preparation import TrialLimits
from tests.support.neuralfuse_models import CHANNELS, CLASSES, base_model, float_model, generator_model

LIMITS = TrialLimits()
PICTURES = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)


def run(content: bytes, **inputs: Any) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, inputs)[0]
    return found


@pytest.mark.parametrize("content", [base_model(), float_model()], ids=["int8", "float32"])
def test_the_memory_is_what_the_file_holds_and_the_graph_takes_it(content: bytes) -> None:
    prepared = prepare_graph(content, height=32, width=32, limits=LIMITS)
    here = WeightMemory.read(content)
    assert [one.layer for one in prepared.memory.tensors] == [one.layer for one in here.tensors]
    faults = FaultModel(0.05)
    expected, found = here.perturbed(faults, 3), prepared.memory.perturbed(faults, 3)
    assert {*expected} == {*found}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    faultless = run(prepared.graph, pictures=PICTURES, **prepared.memory.read_faultless())
    np.testing.assert_allclose(faultless, run(content, pictures=PICTURES), atol=0.05)
    assert prepared.macs == 32 * 32 * CHANNELS * 27 + CHANNELS * CLASSES


def test_macs_are_counted_for_the_size_that_is_asked_for() -> None:
    assert count_graph(generator_model(), height=16, width=64, limits=LIMITS) == 16 * 64 * 3 * 27


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_graphs_of_different_versions_are_fused(opset: int) -> None:
    generator, base = generator_model(opset=opset), float_model()
    fused = fuse_graphs(generator, base, Seam(32, 32, [2.0, 3.0, 4.0], [-1.0, 0.0, 1.0]), LIMITS)
    scale, shift = (np.array(one, np.float32).reshape(1, 3, 1, 1) for one in ([2, 3, 4], [-1, 0, 1]))
    expected = run(base, pictures=run(generator, pictures=PICTURES) * scale + shift)
    np.testing.assert_allclose(run(fused, pictures=PICTURES), expected, atol=1e-4)


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray[Any, Any]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    content: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no graph", "no ONNX model"),
        (model([helper.make_node("Relu", ["pictures"], ["logits"])], {}), "no convolution"),
        (
            model(
                [helper.make_node("Conv", ["pictures", "kernel"], ["logits"])],
                {"kernel": np.full((1, 3, 1, 1), np.nan, np.float32)},
            ),
            "NaN",
        ),
    ],
)
def test_what_is_no_memory_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableGraph, match=reason):
        prepare_graph(content, height=32, width=32, limits=LIMITS)


def test_a_process_that_is_ended_or_takes_too_long_is_an_unusable_graph() -> None:
    with pytest.raises(UnusableGraph, match=r"memory|cannot be read"):
        prepare_graph(base_model(), height=32, width=32, limits=TrialLimits(memory_bytes=2**20))
    with pytest.raises(UnusableGraph, match="not read within"):
        prepare_graph(base_model(), height=32, width=32, limits=TrialLimits(timeout_s=0.01))


def test_a_graph_with_two_outputs_is_not_fused() -> None:
    two = onnx.load_model_from_string(base_model())
    two.graph.output.append(helper.make_tensor_value_info("d", TensorProto.FLOAT, ["batch", CHANNELS]))
    with pytest.raises(UnusableGraph, match="one output"):
        fuse_graphs(generator_model(), two.SerializeToString(), Seam(32, 32), LIMITS)
