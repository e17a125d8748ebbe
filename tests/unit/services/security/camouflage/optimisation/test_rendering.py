"""Pictures as functions of the texture: gradients, batches, and the same light as without torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.security.camouflage.meshes.atlas_maps import AtlasMaps, map_atlas
from services.security.camouflage.meshes.cars import CARS, make_car
from services.security.camouflage.optimisation.rendering import colours
from services.security.camouflage.optimisation.rendering.renderer import FrameBatch
from services.security.camouflage.optimisation.rendering.textures import LevelStack, sample
from services.security.camouflage.rendering.backgrounds import draw_street
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.colours import to_linear, to_srgb
from services.security.camouflage.rendering.frames import Frame, finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, make_daylight

SIDE = 64


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Three cars from three sides under three suns."""
    made = []
    for index, name in enumerate(CARS):
        camera = Camera(40 + 110 * index, 10 + 10 * index, 9.0, width=64, height=48)
        scene = make_scene(make_car(name), camera, (SIDE, SIDE))
        made.append(make_frame(scene, make_daylight(70 * index, 50), MATERIALS, draw_street(camera, index)))
    return made


@pytest.fixture(scope="module")
def maps() -> AtlasMaps:
    return map_atlas(make_car("sedan"), SIDE, SIDE)


def a_texture(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1


def test_the_gradient_is_that_of_finite_differences(frames: list[Frame], maps: AtlasMaps) -> None:
    batch = FrameBatch(frames[:1], LevelStack(maps.mask))
    weights = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    texture = a_texture().requires_grad_()
    (gradient,) = torch.autograd.grad((batch.render(texture) * weights).sum(), texture)
    seen = gradient.abs().flatten().topk(200).indices[::10]
    for place in seen.tolist():
        step = torch.zeros_like(texture).flatten()
        step[place] = 1e-5
        step = step.reshape(texture.shape)
        with torch.no_grad():
            up, down = ((batch.render(texture + one) * weights).sum() for one in (step, -step))
        expected = float(up - down) / 2e-5
        assert float(gradient.flatten()[place]) == pytest.approx(expected, rel=1e-4)


def test_sampling_has_the_gradient_of_its_sum() -> None:
    generator = torch.Generator().manual_seed(3)
    texels = torch.randint(0, 20, (15, 8), generator=generator)
    weights = torch.rand(15, 8, generator=generator, dtype=torch.float64)
    stacked = torch.rand(20, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: sample(values, texels, weights), (stacked,))


def test_texels_that_no_view_shows_have_no_gradient() -> None:
    mesh, camera = make_car("sedan"), Camera(40, 10, 7.0)
    maps = map_atlas(mesh, 256, 256)
    scene = make_scene(mesh, camera, (256, 256))
    frame = make_frame(scene, make_daylight(60, 50), MATERIALS, np.zeros((128, 128, 3), np.float32))
    texture = torch.full((3, 256, 256), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(FrameBatch([frame], LevelStack(maps.mask)).render(texture).sum(), texture)
    seen = gradient.abs().sum(dim=0).numpy() > 0
    assert not (seen & ~maps.mask).any()
    # The left and the front are seen, the right side is not.
    charts = np.where(maps.painted, mesh.charts[maps.faces], -1)
    shares = {chart: seen[charts == chart].mean() for chart in range(6) if (charts == chart).any()}
    assert shares[0] > 0.8
    assert shares[1] == 0


def test_a_batch_is_its_pictures_one_by_one(frames: list[Frame], maps: AtlasMaps) -> None:
    levels, texture = LevelStack(maps.mask), a_texture().float()
    together = FrameBatch(frames, levels).render(texture)
    assert together.shape == (3, 3, 48, 64)
    for index, frame in enumerate(frames):
        alone = FrameBatch([frame], levels).render(texture)[0]
        # Vector units round as it fits the length of a list.
        assert torch.allclose(together[index], alone, rtol=0, atol=1e-6)


def test_torch_and_numpy_make_the_same_picture(frames: list[Frame], maps: AtlasMaps) -> None:
    texture = a_texture().float()
    for frame in frames:
        expected = finish_frame(frame, texture.permute(1, 2, 0).numpy(), maps.mask)
        made = FrameBatch([frame], LevelStack(maps.mask)).render(texture)[0].permute(1, 2, 0).numpy()
        assert np.abs(made - expected).max() < 2e-5


def test_a_brighter_texture_never_makes_a_darker_picture(frames: list[Frame], maps: AtlasMaps) -> None:
    batch = FrameBatch(frames, LevelStack(maps.mask))
    texture = a_texture().float() * 0.5
    assert (batch.render(texture + 0.3) >= batch.render(texture)).all()


def test_a_texture_of_another_size_is_refused(frames: list[Frame], maps: AtlasMaps) -> None:
    with pytest.raises(ValueError, match="its mask"):
        FrameBatch(frames, LevelStack(maps.mask)).render(torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match="was made for"):
        finish_frame(frames[0], np.zeros((32, 32, 3), np.float32), np.ones((32, 32), bool))


def test_colours_go_there_and_back_as_without_torch() -> None:
    values = torch.linspace(0, 1, 257, dtype=torch.float64)
    assert torch.allclose(colours.to_srgb(colours.to_linear(values)), values, atol=1e-7)
    assert np.abs(colours.to_linear(values).numpy() - to_linear(values.numpy())).max() < 1e-6
    assert np.abs(colours.to_srgb(values).numpy() - to_srgb(values.numpy())).max() < 1e-6
    assert torch.autograd.gradcheck(colours.to_linear, (values[5:50].clone().requires_grad_(),))
    assert torch.autograd.gradcheck(colours.to_srgb, (values[2:50].clone().requires_grad_(),))
