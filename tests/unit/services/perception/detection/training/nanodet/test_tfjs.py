"""Graph models of TensorFlow.js, written by hand, are read and run as TensorFlow would."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from services.perception.detection.training.nanodet.published import convolutions_of
from services.perception.detection.training.nanodet.reference import run_published
from services.perception.detection.training.nanodet.tfjs import GraphModel, read_graph_model, read_weights

HALF = {"dtype": "float16", "original_dtype": "float32"}


def entry(name: str, value: NDArray[Any], dtype: str, quantization: dict[str, Any] | None = None) -> dict[str, Any]:
    written: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": dtype}
    return written | ({"quantization": quantization} if quantization else {})


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def whole(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


def graph(nodes: list[dict[str, Any]], constants: dict[str, NDArray[Any]]) -> GraphModel:
    """A model whose floats are written in half precision."""
    entries, content = [], b""
    for name, value in constants.items():
        is_float = value.dtype.kind == "f"
        entries.append(entry(name, value, "float32" if is_float else "int32", HALF if is_float else None))
        content += value.astype("<f2" if is_float else "<i4").tobytes()
        nodes.insert(0, {"name": name, "op": "Const"})
    document = {
        "format": "graph-model",
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["one.bin", "two.bin"], "weights": entries}],
    }
    return read_graph_model(json.dumps(document).encode(), {"one.bin": content[:7], "two.bin": content[7:]})


def test_weights_of_every_layout() -> None:
    plain = np.array([[1.5, -2.0, 3.25]], np.float32)
    half = np.array([0.1, -7.0], np.float16)
    places = np.array([3, -1], np.int32)
    flags = np.array([True, False, True])
    eight = np.array([0, 128, 255], np.uint8)
    sixteen = np.array([0, 1, 65535], np.uint16)
    counts = np.array([0, 2, 5], np.uint8)
    entries = [
        entry("plain", plain, "float32"),
        entry("half", half, "float32", HALF),
        entry("places", places, "int32"),
        entry("flags", flags, "bool"),
        entry("eight", eight, "float32", {"dtype": "uint8", "scale": 0.5, "min": -3.0}),
        entry("sixteen", sixteen, "float32", {"dtype": "uint16", "scale": 0.001, "min": 1.0}),
        entry("counts", counts, "int32", {"dtype": "uint8", "scale": 1.9999999, "min": 0.0}),
        entry("number", np.array(4.0, np.float32), "float32"),
    ]
    stored = (plain, half, places, flags, eight, sixteen, counts, np.array(4.0, np.float32))
    found = read_weights(entries, b"".join(one.tobytes() for one in stored))
    for name, value in (("plain", plain), ("places", places), ("flags", flags)):
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    np.testing.assert_array_equal(found["half"], half.astype(np.float32))
    np.testing.assert_array_equal(found["eight"], np.array([-3.0, 61.0, 124.5], np.float32))
    np.testing.assert_array_equal(found["sixteen"], np.array([1.0, 1.001, 66.535], np.float32))
    np.testing.assert_array_equal(found["counts"], np.array([0, 4, 10], np.int32))
    assert found["number"].shape == ()


def test_files_that_do_not_fit_the_manifest_are_refused() -> None:
    one = [entry("kernel", np.zeros(3, np.float32), "float32")]
    with pytest.raises(ValueError, match="kernel ends at byte 12 of 8"):
        read_weights(one, bytes(8))
    with pytest.raises(ValueError, match="4 bytes are left"):
        read_weights(one, bytes(16))
    with pytest.raises(ValueError, match="kernel is of complex64"):
        read_weights([one[0] | {"dtype": "complex64"}], bytes(24))
    with pytest.raises(ValueError, match="'layers-model'"):
        read_graph_model(b'{"format": "layers-model"}', {})


def test_nodes_are_read() -> None:
    size: dict[str, Any] = {"padding": text("VALID"), "strides": whole(1, 2, 2, 1), "alpha": {"f": 0.5}}
    node = {"name": "layer", "op": "Anything", "input": ["a", "b:1"], "attr": size | {"T": {"type": "DT_FLOAT"}}}
    found = graph([node], {}).nodes["layer"]
    assert (found.kind, found.inputs) == ("Anything", ("a", "b:1"))
    assert found.attributes == {"padding": "VALID", "strides": [1, 2, 2, 1], "alpha": 0.5}


@pytest.fixture
def small() -> tuple[GraphModel, dict[str, NDArray[Any]]]:
    """A padded convolution with bias and activation, halved, and split; channels last, as TensorFlow has them."""
    random = np.random.default_rng(0)
    floats = {"kernel": random.normal(size=(3, 3, 3, 4)), "bias": random.normal(size=4)}
    constants: dict[str, NDArray[Any]] = {
        **{name: value.astype(np.float16).astype(np.float32) for name, value in floats.items()},
        "last": np.array([0, 2, 3, 1]),
        "around": np.array([[0, 0], [1, 1], [1, 1], [0, 0]]),
        "half": np.array([4, 3]),
        "parts": np.array([1, 3]),
        "channels": np.array(3),
    }
    points = {"half_pixel_centers": {"b": True}, "align_corners": {"b": False}}
    nodes: list[dict[str, Any]] = [
        {"name": "image", "op": "Placeholder"},
        {"name": "turned", "op": "Transpose", "input": ["image", "last"]},
        {"name": "padded", "op": "Pad", "input": ["turned", "around"]},
        {
            "name": "convolution",
            "op": "Conv2D",
            "input": ["padded", "kernel"],
            "attr": {"padding": text("VALID"), "strides": whole(1, 1, 1, 1)},
        },
        {"name": "biased", "op": "Add", "input": ["convolution", "bias"]},
        {"name": "active", "op": "LeakyRelu", "input": ["biased"], "attr": {"alpha": {"f": 0.25}}},
        {"name": "smaller", "op": "ResizeBilinear", "input": ["active", "half"], "attr": points},
        {"name": "split", "op": "SplitV", "input": ["smaller", "parts", "channels"]},
        {"name": "Identity", "op": "Identity", "input": ["split:1"]},
    ]
    return graph(nodes, constants), constants


def test_a_graph_is_run_as_its_operators_say(small: tuple[GraphModel, dict[str, NDArray[Any]]]) -> None:
    model, constants = small
    image = np.random.default_rng(1).normal(size=(1, 3, 8, 6)).astype(np.float32)
    kernel = torch.from_numpy(constants["kernel"].transpose(3, 2, 0, 1).copy())
    found = functional.conv2d(torch.from_numpy(image), kernel, torch.from_numpy(constants["bias"]), padding=1)
    right = functional.avg_pool2d(functional.leaky_relu(found, 0.25), 2)[0, 1:].permute(1, 2, 0)
    np.testing.assert_allclose(run_published(model, image)["Identity"][0], right.numpy(), atol=1e-5)


def test_its_convolutions_are_found_with_their_bias(small: tuple[GraphModel, dict[str, NDArray[Any]]]) -> None:
    model, constants = small
    (found,) = convolutions_of(model)
    np.testing.assert_array_equal(found.kernel, constants["kernel"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(found.bias, constants["bias"])


def test_an_unknown_operator_is_named() -> None:
    model = graph([{"name": "image", "op": "Placeholder"}, {"name": "odd", "op": "Einsum", "input": ["image"]}], {})
    with pytest.raises(NotImplementedError, match="odd is a Einsum"):
        run_published(model, np.zeros((1, 3, 8, 8), np.float32))
