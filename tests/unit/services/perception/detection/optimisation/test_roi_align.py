"""RoIAlign against ONNX's operator, a plain loop and finite differences."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from services.optimisation.roi_align import roi_align
from services.perception.detection.optimisation.roi_align import levels_of, pool_levels
from tests.support.detectors import random_boxes


def onnx_roi_align(features: Tensor, boxes: Tensor, stride: float, side: int) -> Tensor:
    node = helper.make_node(
        "RoiAlign",
        ["features", "boxes", "images"],
        ["pooled"],
        coordinate_transformation_mode="half_pixel",
        mode="avg",
        output_height=side,
        output_width=side,
        sampling_ratio=2,
        spatial_scale=1 / stride,
    )
    kinds = {"features": TensorProto.FLOAT, "boxes": TensorProto.FLOAT, "images": TensorProto.INT64}
    values = {"features": features.numpy(), "boxes": boxes.numpy(), "images": np.zeros(len(boxes), np.int64)}
    inputs = [helper.make_tensor_value_info(name, kinds[name], value.shape) for name, value in values.items()]
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "pool", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, values)[0])


@pytest.mark.parametrize(("height", "width"), [(9, 14), (1, 5), (30, 2)])
@pytest.mark.parametrize("stride", [1, 8, 16])
@pytest.mark.parametrize("side", [1, 7])
def test_it_is_the_operator_of_onnx_beyond_borders_too(height: int, width: int, stride: int, side: int) -> None:
    features = torch.randn(1, 5, height, width)
    boxes = random_boxes(200, height=height * stride, width=width * stride, margin=3 * stride)
    found = roi_align(features, boxes, stride, side)
    torch.testing.assert_close(found, onnx_roi_align(features, boxes, stride, side), atol=1e-5, rtol=0)


def test_points_more_than_a_cell_outside_count_as_zero() -> None:
    features = torch.ones(1, 1, 4, 4)
    boxes = torch.tensor([[-20.0, -20, -10, -10], [-1, 0, 1, 4], [0, 0, 4, 4]])
    found = roi_align(features, boxes, 1, 1)
    assert found.flatten().tolist() == [0, 1, 1]
    torch.testing.assert_close(found, onnx_roi_align(features, boxes, 1, 1))


def test_it_interpolates_a_plane_exactly() -> None:
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    plane = (3 * columns - 2 * rows)[None, None]
    boxes = torch.tensor([[32.0, 24, 88, 80]])
    found = roi_align(plane, boxes, 4, 7)[0, 0]
    centres = torch.arange(7) * 2 + 1 - 0.5
    torch.testing.assert_close(found, 3 * (8 + centres)[None] - 2 * (6 + centres)[:, None], atol=1e-4, rtol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    boxes = random_boxes(4, height=40, width=48, margin=12).double()
    assert torch.autograd.gradcheck(lambda values: roi_align(values, boxes, 8, 3), (features,))


def test_no_boxes_give_no_rows() -> None:
    assert roi_align(torch.randn(1, 3, 4, 4), torch.zeros(0, 4), 8, 7).shape == (0, 3, 7, 7)
    maps = (torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4))
    assert pool_levels(maps, torch.zeros(0, 4), strides=(8, 16), boundary=50, side=7).shape == (0, 3, 7, 7)


def test_levels_follow_the_formula_of_the_paper() -> None:
    boxes = random_boxes(300, height=900, width=1300)
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    expected = [min(max(math.floor(4 + math.log2(side / 224)), 3), 5) - 3 for side in sides.tolist()]
    assert levels_of(boxes, 3, 224).tolist() == expected
    assert set(expected) == {0, 1, 2}


def test_boxes_of_several_levels_keep_their_order() -> None:
    maps = tuple(torch.randn(1, 4, 64 // 2**level, 64 // 2**level, requires_grad=True) for level in range(3))
    strides, boxes = (4, 8, 16), random_boxes(40, height=256, width=256)
    found = pool_levels(maps, boxes, strides=strides, boundary=60, side=3)
    for row, box, level in zip(found, boxes, levels_of(boxes, 3, 60).tolist(), strict=True):
        torch.testing.assert_close(row, roi_align(maps[level], box[None], strides[level], 3)[0])
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert all(features.grad is not None and features.grad.abs().sum() > 0 for features in maps)
