"""Anchors by their closed form."""

from __future__ import annotations

import pytest
import torch

from services.perception.detection.optimisation.anchors import AnchorOptions, anchor_shapes, grid_anchors


def test_shapes_have_their_areas_and_ratios() -> None:
    shapes = anchor_shapes((16.0, 30.0), (0.5, 1.0, 2.0))
    sizes = shapes[:, 2:] - shapes[:, :2]
    torch.testing.assert_close(sizes.prod(dim=1).sqrt(), torch.tensor([16.0] * 3 + [30.0] * 3))
    torch.testing.assert_close(sizes[:, 1] / sizes[:, 0], torch.tensor([0.5, 1, 2] * 2))
    torch.testing.assert_close(shapes[:, :2], -shapes[:, 2:])


def test_anchors_stand_around_the_centres_of_cells_row_after_row() -> None:
    maps = (torch.zeros(2, 5, 3, 4), torch.zeros(2, 5, 1, 2))
    fine, coarse = grid_anchors(maps, (8, 16), AnchorOptions(((8.0, 10.0), (20.0, 30.0)), (1.0,)))
    assert fine.shape == (3 * 4 * 2, 4)
    assert coarse.shape == (2 * 2, 4)
    torch.testing.assert_close(fine[0], torch.tensor([0.0, 0, 8, 8]))
    torch.testing.assert_close(fine[2], torch.tensor([8.0, 0, 16, 8]))
    torch.testing.assert_close(fine[2 * 4 + 1], torch.tensor([-1.0, 7, 9, 17]))
    torch.testing.assert_close(coarse[2], torch.tensor([14.0, -2, 34, 18]))


def test_all_maps_have_as_many_sizes() -> None:
    with pytest.raises(ValueError, match="shared by all maps"):
        AnchorOptions(((8.0,), (16.0, 32.0)))
    assert AnchorOptions(((8.0,), (16.0,)), (1.0, 2.0)).count == 2
