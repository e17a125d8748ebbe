"""Graphs are rewritten so that no tensors end the process, and compute what they did before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.runtime.inspection.failure_reasons import reason_of
from shared.runtime.inspection.hazards import UnknownDivision, without_hazards
from shared.runtime.inspection.onnx_file import read_onnx
from shared.runtime.inspection.preparation import TrialLimits, prepare
from shared.runtime.inspection.verification import Refused
from tests.support.own_models import scale

ROOT = Path(__file__).parents[5]
Array = NDArray[Any]
KINDS = {np.int32: TensorProto.INT32, np.int64: TensorProto.INT64}
A, B = (helper.make_tensor_value_info(name, TensorProto.INT32, ["n"]) for name in "ab")
Y = helper.make_tensor_value_info("y", TensorProto.INT32, ["n"])
TRUE = numpy_helper.from_array(np.array(True), "yes")


def file_of(
    *nodes: onnx.NodeProto,
    inputs: Any = (A, B),
    outputs: Any = (Y,),
    constants: Any = (),
    functions: Any = (),
    opset: int = 17,
) -> bytes:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(constants))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
    content: bytes = model.SerializeToString()
    return content


def node(operator: str, given: str, made: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, given.split(), made.split(), **attributes)


def branch(*nodes: onnx.NodeProto, made: str) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(made, TensorProto.INT32, ["n"])
    return helper.make_graph(list(nodes), "branch", [], [output])


def loop() -> bytes:
    """Divides by what grows by one in each of three rounds, beginning with b."""
    values = [("round", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("state", TensorProto.INT32, ["n"]),
              ("by", TensorProto.INT32, ["n"])]  # fmt: skip
    made = [("still", TensorProto.BOOL, []), ("next", TensorProto.INT32, ["n"]), ("more", TensorProto.INT32, ["n"])]
    body = helper.make_graph(
        [node("Identity", "go", "still"), node("Div", "state by", "next"), node("Add", "by one", "more")],
        "body",
        [helper.make_tensor_value_info(*value) for value in values],
        [helper.make_tensor_value_info(*value) for value in made],
    )
    constants = [
        numpy_helper.from_array(np.array(3), "rounds"),
        TRUE,
        numpy_helper.from_array(np.array([1], np.int32), "one"),
    ]
    return file_of(node("Loop", "rounds yes a b", "y rest", body=body), constants=constants)


OWN = helper.make_function(
    "own", "Own", ["u", "v"], ["w"], [node("Add", "u v", "s"), node("Div", "u s", "w")], [helper.make_opsetid("", 17)]
)


def divided(first: Array, second: Array) -> Array:
    """Towards zero, and wrapped: by Python's own numbers, which have no end."""
    bits = np.iinfo(first.dtype).bits
    exact = [
        abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    half = 2 ** (bits - 1)
    return np.array([(number + half) % 2**bits - half for number in exact], first.dtype)


def by_minus_one(first: Array, second: Array) -> Array:
    return divided(first, np.full_like(second, -1))


MINUS_ONE = numpy_helper.from_array(np.array([-1], np.int32), "minus_one")
AXIS = numpy_helper.from_array(np.array([0]), "axis")
BRANCHES = {
    "then_branch": branch(node("Div", "a b", "q"), made="q"),
    "else_branch": branch(node("Identity", "a", "r"), made="r"),
}

GRAPHS: dict[str, tuple[bytes, Callable[[Array, Array], Array]]] = {
    "by an input": (file_of(node("Div", "a b", "y")), divided),
    "by what is computed": (file_of(node("Neg", "b", "c"), node("Neg", "c", "d"), node("Div", "a d", "y")), divided),
    "by a constant": (
        file_of(
            node("Constant", "", "c", value_ints=[-1]),
            node("Cast", "c", "d", to=TensorProto.INT32),
            node("Div", "a d", "y"),
        ),
        by_minus_one,
    ),
    "by weights": (file_of(node("Div", "a minus_one", "y"), constants=[MINUS_ONE]), by_minus_one),
    "in a branch": (file_of(node("If", "yes", "y", **BRANCHES), constants=[TRUE]), divided),
    "in a function": (
        file_of(node("Sub", "b a", "c"), node("Own", "a c", "y", domain="own"), functions=[OWN]),
        divided,
    ),
    "broadcast": (
        file_of(
            node("Unsqueeze", "a axis", "c"), node("Div", "c b", "d"), node("Squeeze", "d axis", "y"), constants=[AXIS]
        ),
        divided,
    ),
}

LOW, HIGH = np.iinfo(np.int32).min, np.iinfo(np.int32).max
FIRST = np.array([LOW, LOW, LOW, HIGH, HIGH, -7, 7, 7, -7, 0, 1, -1], np.int32)
SECOND = np.array([-1, 1, HIGH, -1, HIGH, 2, -2, 3, 3, -1, -1, -1], np.int32)


def run(content: bytes, **feeds: Array) -> Array:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: Array = session.run(["y"], feeds)[0]
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_it_divides_as_before_and_wraps_at_the_end(name: str) -> None:
    content, expected = GRAPHS[name]
    facts = read_onnx(content)
    assert facts.hazardous
    prepared = prepare(content, facts)
    assert prepared != content
    np.testing.assert_array_equal(run(prepared, a=FIRST, b=SECOND), expected(FIRST, SECOND))


def test_it_divides_as_before_in_a_loop() -> None:
    prepared = prepare(loop(), read_onnx(loop()))
    first, second = np.array([LOW, LOW, 700, -60], np.int32), np.array([-1 - 3, 1, -9, 5], np.int32)
    rounds = first
    for number in range(3):
        rounds = divided(rounds, second + np.int32(number))
    np.testing.assert_array_equal(run(prepared, a=first, b=second), rounds)


def test_64_bits_wrap_as_well() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in "aby"]
    content = file_of(node("Div", "a b", "y"), inputs=values[:2], outputs=values[2:])
    low = np.iinfo(np.int64).min
    found = run(prepare(content, read_onnx(content)), a=np.array([low, 9]), b=np.array([-1, -2]))
    assert found.tolist() == [low, -4]


def test_division_by_zero_is_refused_as_before() -> None:
    content = GRAPHS["by what is computed"][0]
    with pytest.raises(Exception, match="division by zero"):
        run(prepare(content, read_onnx(content)), a=FIRST[:1], b=np.zeros(1, np.int32))


def floats(*nodes: onnx.NodeProto, **options: Any) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    return file_of(*nodes, inputs=[x], outputs=[y], **options)


@pytest.mark.parametrize(
    "content",
    [
        scale(2),
        floats(node("Div", "x x", "y")),
        floats(node("Constant", "", "c", value_float=2.0), node("Sqrt", "x", "z"), node("Div", "z c", "y")),
        floats(node("Sqrt", "x", "z"), node("Div", "z x", "y")),
    ],
)
def test_other_graphs_are_not_looked_at(content: bytes) -> None:
    assert not read_onnx(content).hazardous


@pytest.mark.parametrize(
    "content",
    [
        floats(node("Sqrt", "x", "z"), node("Exp", "x", "e"), node("Div", "z e", "d"), node("Identity", "d", "y")),
        file_of(node("Constant", "", "c", value_ints=[2, -3]), node("Cast", "c", "d", to=6), node("Div", "a two", "y"),
                constants=[numpy_helper.from_array(np.array([2], np.int32), "two")], inputs=[A]),
    ],
)  # fmt: skip
def test_a_doubtful_graph_without_hazards_stays_as_it_is(content: bytes) -> None:
    facts = read_onnx(content)
    assert facts.hazardous
    assert without_hazards(content) is None
    assert prepare(content, facts) is content


def test_a_name_that_is_made_again_inside_is_another_one() -> None:
    """A float named c outside does not vouch for the c that a branch makes."""
    inner = branch(node("Add", "a b", "c"), node("Add", "b b", "d"), node("Div", "c d", "q"), made="q")
    content = file_of(
        node("If", "yes", "y", then_branch=inner, else_branch=BRANCHES["else_branch"]),
        constants=[TRUE, numpy_helper.from_array(np.array(1, np.float32), "c")],
    )
    assert read_onnx(content).hazardous


def test_a_division_of_unknown_numbers_is_refused() -> None:
    content = floats(node("Odd", "x", "z", domain="com.microsoft"), node("Div", "z z", "d"), node("Sign", "d", "y"))
    with pytest.raises(UnknownDivision, match="value_info"):
        without_hazards(content)
    with pytest.raises(Refused, match="cannot be made safe"):
        prepare(content, read_onnx(content))


def test_an_opset_without_broadcasting_is_refused() -> None:
    content = file_of(node("Identity", "b", "c"), node("Identity", "a", "d"), node("Div", "d c", "y"), opset=6)
    with pytest.raises(UnknownDivision, match="from opset 7 on"):
        without_hazards(content)


def test_bytes_that_end_the_process_are_refused() -> None:
    content = GRAPHS["by an input"][0]
    with pytest.raises(Refused, match=r"cannot be made safe|within the time and memory"):
        prepare(content, read_onnx(content), TrialLimits(memory_bytes=1024**2))
    with pytest.raises(Refused, match="within the time and memory"):
        prepare(content, read_onnx(content), TrialLimits(timeout_s=0.001))


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3)])
@pytest.mark.parametrize("shape", [(3, 2, 2), (0, 2, 2), (3, 0, 2)])
def test_recurrent_operators_compute_as_before_and_survive_nothing(
    operator: str, gates: int, shape: tuple[int, ...]
) -> None:
    numbers = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(numbers.standard_normal((1, 3 * gates, size), np.float32), name)
        for name, size in (("w", 2), ("r", 3))
    ]
    content = file_of(
        node(operator, "x w r", "y", hidden_size=3),
        inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["s", "n", 2])],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, ["s", 1, "n", 3])],
        constants=weights,
    )
    prepared = prepare(content, read_onnx(content))
    given = numbers.standard_normal(shape, np.float32)
    if given.size:
        np.testing.assert_array_equal(run(prepared, x=given), run(content, x=given))
        return
    with pytest.raises(Exception, match="division by zero") as caught:
        run(prepared, x=given)
    assert reason_of(caught.value) == f"{operator}: its input is empty, and it takes none that is"


@pytest.mark.parametrize("kind", ["numbers", "empty"])
def test_no_numbers_and_no_empty_tensors_end_a_process(kind: str) -> None:
    """Every operator of two integers at its limits; some hundred graphs on tensors without elements."""
    command = [sys.executable, "-m", "tests.support.operator_extremes", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    found = dict(map(json.loads, done.stdout.splitlines()))
    assert {label: came for label, came in found.items() if "died" in came} == {}
    ran = [label for label, came in found.items() if any("values" in one for one in came.get("runs", ()))]
    assert len(ran) >= {"numbers": 44, "empty": 160}[kind]
