"""Ways to make a texture: values, gradients, seeds, and how a patch is laid over charts."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.optimisation.patterns.ddpm import (
    DiffusionPattern,
    cut_softly,
    lay_patch,
    periodic_samples,
)
from services.security.camouflage.optimisation.patterns.diffusion import SIDE, NoisePredictor
from services.security.camouflage.optimisation.patterns.generator import GeneratorPattern
from services.security.camouflage.optimisation.patterns.making import make_pattern
from services.security.camouflage.optimisation.patterns.pattern import Pattern
from services.security.camouflage.optimisation.patterns.pixels import PixelPattern
from services.security.camouflage.planning.plan import CamouflagePlan, Cover
from services.security.camouflage.textures.covers import CoverMask, make_cover

TEXTURE = 128


@pytest.fixture(scope="module")
def covers() -> dict[str, CoverMask]:
    mesh = make_car("sedan")
    maps = map_atlas(mesh, TEXTURE, TEXTURE)
    return {
        "full": make_cover(mesh, maps, Cover()),
        "sticker": make_cover(mesh, maps, Cover(mode="sticker", share=0.2, places=("sides",))),
    }


def make(name: str, cover: CoverMask, seed: int = 0) -> Pattern:
    if name == "pixels":
        return PixelPattern(TEXTURE, seed)
    if name == "generator":
        return GeneratorPattern(TEXTURE, seed)
    torch.manual_seed(9)
    return DiffusionPattern(NoisePredictor(), cover, seed, evaluations=2)


@pytest.mark.parametrize("name", ["pixels", "generator", "ddpm"])
def test_patterns_are_textures_that_an_optimiser_can_change(name: str, covers: dict[str, CoverMask]) -> None:
    pattern = make(name, covers["full"])
    texture = pattern()
    assert texture.shape == (3, TEXTURE, TEXTURE)
    assert float(texture.detach().min()) >= 0
    assert float(texture.detach().max()) <= 1
    assert torch.equal(texture, make(name, covers["full"])())
    assert not torch.equal(texture, make(name, covers["full"], seed=1)())
    optimiser = torch.optim.Adam(pattern.optimised(), lr=pattern.learning_rate)
    before = float(texture.detach().mean())
    for _ in range(6):
        optimiser.zero_grad()
        (pattern().mean() + pattern.penalty()).backward()
        optimiser.step()
    assert float(pattern().detach().mean()) < before - 0.005


@pytest.mark.parametrize("name", ["pixels", "generator", "ddpm"])
def test_a_saved_pattern_gives_the_same_texture(name: str, covers: dict[str, CoverMask]) -> None:
    first, second = make(name, covers["full"], seed=4), make(name, covers["full"], seed=5)
    content = io.BytesIO()
    torch.save(first.state_dict(), content)
    second.load_state_dict(torch.load(io.BytesIO(content.getvalue()), weights_only=True))
    if name == "ddpm":
        # Offsets follow from the seed, which a plan keeps.
        assert isinstance(first, DiffusionPattern)
        assert isinstance(second, DiffusionPattern)
        assert torch.equal(first.patch(), second.patch())
        assert len(content.getvalue()) < 100_000
    else:
        assert torch.equal(first(), second())


def test_the_generator_is_the_same_in_training_and_out_of_it() -> None:
    pattern = GeneratorPattern(TEXTURE, 0, t=4)
    assert torch.equal(pattern.train()(), pattern.eval()())
    plain, noisy = pattern(), pattern(torch.Generator().manual_seed(1))
    deviation = float((noisy.logit() - plain.logit()).detach().std())
    assert deviation == pytest.approx(0.1 * 2, rel=0.02)
    # Without t, noise is not added, and its scale is not learned.
    still = GeneratorPattern(TEXTURE, 0)
    assert torch.equal(still(torch.Generator().manual_seed(1)), still())
    assert len(still.optimised()) == len(pattern.optimised()) - 1


def test_the_width_of_the_generator_is_an_option() -> None:
    wide = GeneratorPattern(32, 0, widths=(8, 16))
    assert wide().shape == (3, 32, 32)
    assert sum(one.numel() for one in wide.parameters()) < sum(
        one.numel() for one in GeneratorPattern(32, 0, widths=(16, 32, 64)).parameters()
    )


def test_the_diffusion_model_stays_as_it_is(covers: dict[str, CoverMask]) -> None:
    torch.manual_seed(9)
    prior = NoisePredictor()
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    pattern = DiffusionPattern(prior, covers["full"], 0, evaluations=2)
    assert [name for name, _ in pattern.named_parameters()] == ["latent"]
    pattern().mean().backward()
    assert pattern.latent.grad is not None
    assert all(one.grad is None for one in prior.parameters())
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())


def test_the_penalty_is_least_on_the_shell(covers: dict[str, CoverMask]) -> None:
    pattern = make("ddpm", covers["full"])
    assert isinstance(pattern, DiffusionPattern)
    assert float(pattern.penalty().detach()) < 0.01
    with torch.no_grad():
        pattern.latent.mul_(2)
    assert float(pattern.penalty().detach()) == pytest.approx(9, rel=0.2)


def test_a_patch_is_laid_without_a_seam_within_a_chart(covers: dict[str, CoverMask]) -> None:
    cover = covers["full"]
    places = lay_patch(cover, np.random.default_rng(0)).reshape(TEXTURE, TEXTURE, 2)
    within = (cover.charts[:, 1:] == cover.charts[:, :-1]) & (cover.charts[:, 1:] >= 0)
    steps = np.diff(places, axis=1)[within]
    assert steps == pytest.approx(np.broadcast_to([0, 1 / SIDE], steps.shape))
    offsets = {chart: tuple(places[cover.charts == chart][0] % 1) for chart in np.unique(cover.charts[cover.mask])}
    assert len(set(offsets.values())) == len(offsets)


def test_a_patch_is_as_high_as_a_sticker(covers: dict[str, CoverMask]) -> None:
    cover = covers["sticker"]
    places = lay_patch(cover, np.random.default_rng(0)).reshape(TEXTURE, TEXTURE, 2)
    for one in cover.rectangles:
        chart = places[cover.charts == one.chart]
        assert chart[:, 0].min() >= 0
        assert chart[:, 0].max() <= 1
        assert chart[:, 1].max() == pytest.approx((one.right - one.left) / (one.bottom - one.top), rel=0.05)


def test_sampling_a_patch_goes_on_at_its_opposite_edge() -> None:
    patch = np.random.default_rng(0).random((4, 4))
    rows, columns = np.meshgrid(np.arange(8) + 0.5, np.arange(8) + 0.5, indexing="ij")
    pixels, weights = periodic_samples(np.stack((rows, columns), axis=-1).reshape(-1, 2) / 4, 4)
    laid = (patch.reshape(-1)[pixels] * weights).sum(axis=1).reshape(8, 8)
    assert laid == pytest.approx(np.tile(patch, (2, 2)))
    # Half a pixel to the left of the first lies the middle between the last and the first.
    pixels, weights = periodic_samples(np.array([[0.125, 0.0]]), 4)
    assert (patch.reshape(-1)[pixels] * weights).sum() == pytest.approx((patch[0, 0] + patch[0, 3]) / 2)


def test_soft_cutting_changes_little_within_and_keeps_a_gradient_outside() -> None:
    values = torch.tensor([-0.3, 0.2, 0.5, 0.8, 1.3], dtype=torch.float64, requires_grad=True)
    cut = cut_softly(values)
    assert cut[1:4].tolist() == pytest.approx([0.2, 0.5, 0.8], abs=0.01)
    (gradient,) = torch.autograd.grad(cut.sum(), values)
    assert (gradient > 1e-3).all()
    assert float(cut.min().detach()) > 0
    assert float(cut.max().detach()) < 1


def test_a_plan_names_its_pattern(covers: dict[str, CoverMask]) -> None:
    assert isinstance(make_pattern(CamouflagePlan(texture_side=128), covers["full"], None), PixelPattern)
    plan = CamouflagePlan(pattern="generator", texture_side=128)
    assert isinstance(make_pattern(plan, covers["full"], None), GeneratorPattern)
    with pytest.raises(ValueError, match="needs the diffusion model"):
        make_pattern(CamouflagePlan(pattern="ddpm"), covers["full"], None)
