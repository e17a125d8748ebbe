"""The released weights do what their cards say, on images made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from services.medical.low_dose_ct.images.metrics import mean_hu_bias, psnr
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.scanning.simulation import prepare_slice, simulate_low_dose
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.registry import newest_folder

MODELS = Path(__file__).parents[4] / "services/medical/models"
RELEASES = sorted(folder.parent for folder in MODELS.glob("*/*/card.json"))
LARGEST_FILE = 40 * 1024 * 1024

Image = NDArray[np.float32]


def denoise(name: str, image: Image, level: float) -> Image:
    folder = newest_folder(MODELS, name)
    session = onnxruntime.InferenceSession(read_weights(folder, read_card(folder)), providers=["CPUExecutionProvider"])
    answer: Image = session.run(
        ["clean"], {"image": image[None, None], "noise_level": np.array([level], dtype=np.float32)}
    )[0][0, 0]
    return answer


def discs(side: int) -> Image:
    """Overlapping discs of random grey values, as a photograph without texture."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    image = np.full((side, side), 0.5, dtype=np.float32)
    for _ in range(25):
        row, column, radius = random.uniform((0, 0, 8), (side, side, side / 4))
        image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = random.uniform(0.1, 0.9)
    return image


def test_both_models_are_released() -> None:
    assert {folder.parent.name for folder in RELEASES} >= {"low-dose-ct", "gaussian-denoiser"}


@pytest.mark.parametrize("folder", RELEASES, ids=lambda folder: folder.parent.name)
def test_card_is_complete_and_its_digest_is_that_of_the_file(folder: Path) -> None:
    card = read_card(folder)
    content = read_weights(folder, card)
    assert len(content) == card.weights.bytes <= LARGEST_FILE
    assert (card.name, card.version) == (folder.parent.name, folder.name)
    assert card.quality
    assert card.parity.max_abs_difference < 1e-4
    assert any("not a medical device" in limit for limit in card.limits)


@pytest.mark.parametrize("name", ["gaussian-denoiser", "low-dose-ct"])
def test_figures_of_the_card_are_those_of_the_evaluation_beside_it(name: str) -> None:
    folder = newest_folder(MODELS, name)
    figures = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    best = read_card(folder).quality[0].value
    if name == "gaussian-denoiser":
        assert best == pytest.approx(figures["photographs"]["levels"]["15"]["psnr_db"], abs=1e-3)
    else:
        released = next(row for method, row in figures["chest"]["methods"].items() if "released" in method)
        assert best == pytest.approx(released["psnr"]["mean"], abs=1e-3)


@pytest.mark.parametrize("shape", [(128, 128), (101, 90)])
def test_gaussian_denoiser_gains_six_decibels_at_any_size(shape: tuple[int, int]) -> None:
    clean = discs(128)[: shape[0], : shape[1]]
    noisy = clean + np.random.default_rng(1).normal(0, 25 / 255, shape).astype(np.float32)
    assert psnr(denoise("gaussian-denoiser", noisy, 25 / 255), clean) > psnr(noisy, clean) + 6


def test_low_dose_network_improves_a_reconstruction_by_two_decibels_without_a_shift_of_values() -> None:
    random = np.random.default_rng(2)
    truth = prepare_slice(chest_phantom(random), random=random)
    scan = simulate_low_dose(truth, random=random)
    reconstruction = filtered_back_projection(scan, filter_name="hann", frequency_scaling=1.0)
    level = float(str(read_card(newest_folder(MODELS, "low-dose-ct")).parameters["noise_level"]))
    enhanced = denoise("low-dose-ct", reconstruction, level)
    assert psnr(enhanced, truth) > psnr(reconstruction, truth) + 2
    assert abs(mean_hu_bias(enhanced, truth, mask=truth > 0.2)) < 20
