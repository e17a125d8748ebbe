"""The released diffusion model: what the card says holds, and torch decodes textures out of the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from services.security.camouflage.optimisation.patterns.diffusion import SIDE, STEPS, decode, make_periodic
from services.security.camouflage.optimisation.patterns.prior_weights import PRIOR, read_prior
from shared.runtime.cards import ModelCard, read_card, read_weights
from shared.runtime.models.sessions import OnnxModel

FOLDER = max((Path(__file__).parents[6] / "services" / "security" / "models" / PRIOR).iterdir())


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return read_card(FOLDER)


def test_file_and_network_compute_the_same(card: ModelCard) -> None:
    content = read_weights(FOLDER, card)
    assert len(content) < 4 * 2**20
    pictures = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    steps = torch.tensor([0, 60, 150, STEPS - 1])
    inputs = {"pictures": pictures.numpy(), "steps": steps.numpy()}
    computed = OnnxModel(card, content, threads=1).run(inputs)[0]
    with torch.no_grad():
        assert np.abs(read_prior(content)(pictures, steps).numpy() - computed).max() < 1e-4
    assert card.parity.max_abs_difference < 1e-4


def test_decoded_textures_differ_from_noise_and_from_each_other(card: ModelCard) -> None:
    network = read_prior(read_weights(FOLDER, card))
    make_periodic(network)
    latents = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = decode(network, latents, 6)
    assert float(decoded.abs().amax()) < 2.5
    assert float(decoded.mean(dim=(2, 3)).std()) > 0.05
    # Neighbours are alike, across the edges as well, which those of noise are not.
    inner = (decoded[..., 1:] - decoded[..., :-1]).abs().mean()
    assert float(inner) < 0.6 * float(decoded.std())
    assert float((decoded[..., 0] - decoded[..., -1]).abs().mean()) < 1.3 * float(inner)


def test_samples_are_no_copies(card: ModelCard) -> None:
    loss, neighbour, contrast = card.quality
    assert loss.baseline is not None
    assert loss.value < 0.8 * loss.baseline.value
    assert neighbour.baseline is not None
    assert contrast.baseline is not None
    # Pictures of less contrast are nearer to all others.
    expected = neighbour.baseline.value / contrast.baseline.value
    assert neighbour.value / contrast.value > 0.9 * expected
