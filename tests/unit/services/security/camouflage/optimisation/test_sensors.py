"""What cameras do to pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from services.security.camouflage.optimisation import sensors
from services.security.camouflage.optimisation.sensors import quantise, take_pictures


def some_pictures(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 24, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.6 + 0.2


def only(monkeypatch: pytest.MonkeyPatch, **ranges: tuple[float, float] | float) -> None:
    """Leave everything out but what is named."""
    nothing = {"_BLURS": (1e-3, 1e-3), "_SHIFT": 0.0, "_GAMMAS": (1.0, 1.0), "_NOISES": (0.0, 0.0)}
    for name, value in {**nothing, **ranges}.items():
        monkeypatch.setattr(sensors, name, value)


def test_blur_is_that_of_an_independent_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, _BLURS=(0.8, 0.8))
    taken = take_pictures(some_pictures(), np.random.default_rng(0))
    expected = gaussian_filter(some_pictures().numpy(), 0.8, axes=(2, 3), mode="nearest", radius=3)
    assert np.abs(taken.numpy() - expected).max() < 0.5 / 255 + 1e-4


def test_shift_moves_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, _BLURS=(0.5, 0.5), _SHIFT=1.0)
    ramp = torch.linspace(0.2, 0.8, 32, dtype=torch.float64).expand(1, 3, 24, 32)
    rng = np.random.default_rng(3)
    taken = take_pictures(ramp, rng)
    drawn = np.random.default_rng(3)
    drawn.uniform(0.5, 0.5, 1)
    across = float(drawn.uniform(-1, 1, (1, 2))[0, 1])
    step = 0.6 / 31
    assert (taken - ramp)[..., 5:-5].mean().item() == pytest.approx(across * step, abs=0.15 * step)


def test_gamma_and_noise_are_of_the_size_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, _GAMMAS=(1.5, 1.5))
    grey = torch.full((1, 3, 40, 40), 0.5, dtype=torch.float64)
    assert take_pictures(grey, np.random.default_rng(0)).mean().item() == pytest.approx(0.5**1.5, abs=0.002)
    only(monkeypatch, _NOISES=(0.05, 0.05))
    assert take_pictures(grey, np.random.default_rng(0)).std().item() == pytest.approx(0.05, rel=0.05)


def test_pictures_have_eight_bits_and_the_gradient_of_what_they_were() -> None:
    values = torch.tensor([0.1234, 0.5, 0.999], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((quantise(values) * torch.tensor([1.0, 2.0, 3.0])).sum(), values)
    assert gradient.tolist() == [1, 2, 3]
    levels = take_pictures(some_pictures(), np.random.default_rng(0)).numpy() * 255
    assert np.abs(levels - levels.round()).max() < 1e-9


def test_the_gradient_is_that_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "quantise", lambda values: values)
    pictures = some_pictures(1)[..., :6, :7].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: take_pictures(values, np.random.default_rng(1)), (pictures,))


def test_a_generator_decides_all() -> None:
    first, second, third = (take_pictures(some_pictures(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
