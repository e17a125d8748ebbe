"""Losses: gradients against finite differences, and that descending them does what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.security.camouflage.optimisation.losses import TextureLosses, best_scores, hide_loss, overlaps
from services.security.camouflage.textures.covers import CoverMask

SIDE = 6
TARGETS = torch.tensor([[10.0, 10.0, 30.0, 20.0], [0.0, 0.0, 8.0, 8.0]], dtype=torch.float64)


def a_cover() -> CoverMask:
    """Two charts of 3 columns each, the last row uncovered, the second chart with twice the surface."""
    mask = np.ones((SIDE, SIDE), bool)
    mask[-1] = False
    charts = np.where(mask, np.repeat([0, 1], 3)[None], -1).astype(np.int32)
    return CoverMask(mask, np.where(mask, charts + 1, 0).astype(np.float32), charts, 1.0)


def the_losses() -> TextureLosses:
    palette = torch.tensor([[0.2, 0.3, 0.1], [0.6, 0.6, 0.5]], dtype=torch.float64)
    return TextureLosses(a_cover(), palette, torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.9, 0.2]], dtype=torch.float64))


def a_texture(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1


def some_boxes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, 20, 2, generator=generator, dtype=torch.float64) * 20
    sizes = torch.rand(2, 20, 2, generator=generator, dtype=torch.float64) * 20 + 2
    scores = torch.rand(2, 20, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    return torch.cat((corners, corners + sizes), dim=2), scores


@pytest.mark.parametrize("name", ["covert", "smooth", "printable"])
def test_texture_losses_have_the_gradient_of_finite_differences(name: str) -> None:
    loss = getattr(the_losses(), name)
    assert torch.autograd.gradcheck(loss, (a_texture().requires_grad_(),), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("surest", [1, 3])
def test_the_hide_loss_has_the_gradient_of_finite_differences(surest: int) -> None:
    boxes, scores = some_boxes()
    assert torch.autograd.gradcheck(
        lambda values: hide_loss(boxes, values, TARGETS, surest=surest), (scores.requires_grad_(),)
    )


def test_the_hide_loss_falls_with_the_score_on_the_car_and_not_elsewhere() -> None:
    boxes = torch.stack((TARGETS, TARGETS + 50), dim=1)
    scores = torch.tensor([[0.8, 0.9], [0.6, 0.9]], dtype=torch.float64, requires_grad=True)
    loss = hide_loss(boxes, scores, TARGETS)
    assert float(loss.detach()) == pytest.approx(-(np.log(0.2) + np.log(0.4)) / 2)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert (gradient[:, 0] > 0).all()
    # A surer vehicle that is not the target has no part in it.
    assert (gradient[:, 1] == 0).all()


def test_a_sure_victim_gives_a_finite_loss() -> None:
    loss = hide_loss(TARGETS[:, None], torch.ones(2, 1, dtype=torch.float64), TARGETS)
    assert float(loss) == pytest.approx(-np.log(1e-4))


def test_overlaps_are_those_of_boxes_by_hand() -> None:
    boxes = torch.tensor([[[10.0, 10, 30, 20], [20, 10, 40, 20], [50, 50, 60, 60], [5, 5, 5, 5]]])
    found = overlaps(boxes, TARGETS[:1].float())[0]
    assert found.tolist() == pytest.approx([1, 100 / 300, 0, 0])
    scores = torch.tensor([[0.3, 0.9, 0.95, 0.99]])
    assert best_scores(boxes, scores, TARGETS[:1].float()).tolist() == pytest.approx([0.3])
    assert best_scores(boxes, scores, TARGETS[:1].float() + 100).tolist() == [0]


@pytest.mark.parametrize("name", ["covert", "smooth", "printable"])
def test_descending_a_loss_lowers_what_it_stands_for(name: str) -> None:
    losses, texture = the_losses(), a_texture().requires_grad_()
    loss = getattr(losses, name)
    optimiser, before = torch.optim.Adam([texture], lr=0.03), float(loss(texture).detach())
    for _ in range(60):
        optimiser.zero_grad()
        loss(texture).backward()
        optimiser.step()
    assert float(loss(texture).detach()) < 0.15 * before
    covered = texture.detach()[:, :-1]
    assert torch.equal(texture.detach()[:, -1], a_texture()[:, -1])
    if name == "smooth":
        # Flat within a chart, and no tie from one to the other.
        assert covered[..., :3].std(dim=(1, 2)).max() < 0.05
        assert (covered[..., 2] - covered[..., 3]).abs().max() > 0.03
    else:
        wanted = torch.tensor([[0.2, 0.3, 0.1], [0.6, 0.6, 0.5]] if name == "covert" else [[0.1] * 3, [0.9, 0.9, 0.2]])
        distances = (covered.permute(1, 2, 0).reshape(-1, 1, 3) - wanted).norm(dim=2).amin(dim=1)
        assert distances.max() < 0.1


def test_texels_count_as_much_as_their_surface() -> None:
    losses = the_losses()
    (gradient,) = torch.autograd.grad(losses.printable(texture := a_texture().requires_grad_()), texture)
    lengths = gradient.norm(dim=0)[:-1]
    assert lengths[:, :3].flatten().tolist() == pytest.approx([1 / 45] * 15)
    assert lengths[:, 3:].flatten().tolist() == pytest.approx([2 / 45] * 15)
