"""Facet's reader of ONNX files beside the onnx package: on made-up graphs, and on files with damaged bytes."""

from __future__ import annotations

import string
from dataclasses import replace

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from shared.runtime.inspection.onnx_file import ELEMENT_TYPES, Axis, OnnxFacts, TensorFact, read_onnx
from shared.runtime.inspection.protobuf import MalformedMessage
from tests.support.own_models import endless, scale
from tests.support.tiny_models import denoiser

NAMES = st.text(string.ascii_letters + "_é", min_size=1, max_size=8)
SIDES = st.one_of(st.none(), st.integers(-1, 2**40), NAMES)
TYPES = st.sampled_from([*ELEMENT_TYPES, TensorProto.BFLOAT16])


@st.composite
def values(draw: st.DrawFn, name: str) -> onnx.ValueInfoProto:
    shape = draw(st.none() | st.lists(SIDES, max_size=4))
    return helper.make_tensor_value_info(name, draw(TYPES), shape)


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    tensors = [draw(values(name)) for name in names]
    split = draw(st.integers(1, len(names) - 1))
    nodes = [
        helper.make_node(draw(NAMES), [names[0]], [draw(NAMES)], domain=draw(st.sampled_from(["", "ai.onnx", "own"])))
        for _ in range(draw(st.integers(0, 4)))
    ]
    given_values = [
        helper.make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0])
        for name in draw(st.lists(st.sampled_from(names[:split]), unique=True))
    ]
    graph = helper.make_graph(nodes, "graph", tensors[:split], tensors[split:], given_values)
    opsets = draw(st.dictionaries(st.sampled_from(["", "ai.onnx.ml", "own"]), st.integers(-5, 2**40), max_size=3))
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=draw(st.integers(0, 2**40)))


def axis(side: onnx.TensorShapeProto.Dimension) -> Axis:
    kind = side.WhichOneof("value")
    return side.dim_value if kind == "dim_value" else (side.dim_param or None) if kind == "dim_param" else None


def fact(value: onnx.ValueInfoProto) -> TensorFact:
    kind = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type":
        return TensorFact(value.name, "", None)
    shape = tuple(map(axis, kind.shape.dim)) if kind.HasField("shape") else None
    return TensorFact(value.name, ELEMENT_TYPES.get(kind.elem_type, ""), shape)


def as_onnx_reads(content: bytes) -> OnnxFacts:
    """The same facts by the onnx package, for graphs without subgraphs and functions."""
    proto = onnx.ModelProto.FromString(content)
    given_names = {tensor.name for tensor in proto.graph.initializer}

    def domain(name: str) -> str:
        return "" if name == "ai.onnx" else name

    return OnnxFacts(
        ir_version=proto.ir_version,
        opsets={domain(entry.domain): entry.version for entry in proto.opset_import},
        inputs=tuple(fact(value) for value in proto.graph.input if value.name not in given_names),
        outputs=tuple(map(fact, proto.graph.output)),
        operators=frozenset((domain(node.domain), node.op_type) for node in proto.graph.node),
        external=tuple(
            tensor.name
            for tensor in proto.graph.initializer
            if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL
        ),
    )


@given(models())
@settings(deadline=None, max_examples=200)
def test_it_reads_what_the_onnx_package_reads(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    assert replace(read_onnx(content), doubtful_division=False) == as_onnx_reads(content)


@given(models(), models())
@settings(deadline=None, max_examples=50)
def test_files_behind_each_other_are_merged_as_the_format_says(first: onnx.ModelProto, second: onnx.ModelProto) -> None:
    content = first.SerializeToString() + second.SerializeToString()
    assert replace(read_onnx(content), doubtful_division=False) == as_onnx_reads(content)


@given(st.data())
@settings(deadline=None, max_examples=500)
def test_damaged_files_are_refused_or_read_as_the_onnx_package_reads_them(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([scale(2), scale(2, external=True), denoiser("mean")])))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        facts = read_onnx(damaged)
    except MalformedMessage:
        return
    try:
        expected = as_onnx_reads(damaged)
    except (DecodeError, UnicodeDecodeError):
        return
    assert set(expected.external) <= set(facts.external)
    assert expected.operators <= facts.operators
    # Shapes of damaged files may be read otherwise; they are compared with the session's own view before anything runs.


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        read_onnx(content)
    except MalformedMessage as error:
        assert str(error)


def test_subgraphs_are_looked_into() -> None:
    facts = read_onnx(endless())
    assert facts.operators == {("", "Loop"), ("", "Identity"), ("", "Abs")}
    assert [value.name for value in facts.inputs] == ["x"]
