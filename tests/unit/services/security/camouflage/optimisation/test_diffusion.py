"""The diffusion model: schedule, decoding, periodic edges, and its file."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from services.security.camouflage.optimisation.patterns.diffusion import (
    SIDE,
    STEPS,
    NoisePredictor,
    ddim_steps,
    decode,
    make_periodic,
    make_schedule,
)
from services.security.camouflage.optimisation.patterns.prior_weights import read_prior
from services.security.camouflage.training.exports import export_prior


def a_network(seed: int = 0) -> NoisePredictor:
    """Of random weights, all of them different."""
    torch.manual_seed(seed)
    network = NoisePredictor().eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(torch.randn_like(weights) * 0.02)
    return network


class GaussianPrior(NoisePredictor):
    """The exact noise of pictures that are normal with a known mean and deviation, pixel by pixel."""

    def forward(self, pictures: Tensor, steps: Tensor) -> Tensor:
        picture, noise = (one[steps].reshape(-1, 1, 1, 1) for one in (self.picture, self.noise))
        return noise * (pictures - picture * MEAN) / (picture**2 * DEVIATION**2 + noise**2)


MEAN, DEVIATION = 0.3, 0.2


def test_the_schedule_keeps_the_sum_of_squares_and_ends_at_noise() -> None:
    picture, noise = make_schedule()
    assert len(picture) == STEPS
    assert torch.allclose(picture**2 + noise**2, torch.ones(STEPS))
    assert (picture[1:] < picture[:-1]).all()
    assert picture[0] > 0.9999
    assert 0.04 < picture[-1] < 0.06


def test_decoding_gives_the_distribution_that_the_network_knows() -> None:
    latents = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    decoded = decode(GaussianPrior(), latents, 60)
    assert float(decoded.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(decoded.std()) == pytest.approx(DEVIATION, rel=0.1)
    # The deterministic path keeps the order of values: the map of a normal onto another is linear.
    correlation = np.corrcoef(decoded.flatten().numpy(), latents.flatten().numpy())[0, 1]
    assert correlation > 0.999


def test_steps_of_a_decoding_go_down_from_the_noisiest() -> None:
    assert ddim_steps(1) == [STEPS - 1]
    steps = ddim_steps(6)
    assert steps[0] == STEPS - 1
    assert steps == sorted(set(steps), reverse=True)
    assert steps[-1] > 0


def test_the_gradient_through_all_steps_is_that_of_finite_differences() -> None:
    network = a_network().double()
    latents = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    start = latents.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((decode(network, start, 3) * weights).sum(), start)
    direction = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        up, down = ((decode(network, latents + one * direction, 3) * weights).sum() for one in (1e-5, -1e-5))
    assert float((gradient * direction).sum()) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)


def test_a_periodic_network_knows_no_edge() -> None:
    network = a_network()
    make_periodic(network)
    latents = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = decode(network, latents, 2)
        # A whole number of the coarsest cells.
        moved = decode(network, latents.roll((8, 16), dims=(2, 3)), 2)
    assert torch.allclose(moved, plain.roll((8, 16), dims=(2, 3)), atol=1e-4)


def test_the_file_gives_the_network_back_and_computes_the_same() -> None:
    content = export_prior(a_network())
    network = read_prior(content)
    pictures = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([0, 100, STEPS - 1])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (computed,) = session.run(None, {"pictures": pictures.numpy(), "steps": steps.numpy()})
    with torch.no_grad():
        assert np.abs(computed - network(pictures, steps).numpy()).max() < 1e-4
        # Half precision is all that is lost.
        assert (network(pictures, steps) - a_network()(pictures, steps)).abs().max() < 0.02
    for broken in (b"no graph", content[: len(content) // 2]):
        with pytest.raises(ValueError, match="not the graph"):
            read_prior(broken)
