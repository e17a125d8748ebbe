"""Batches of stage 3, and its evaluation, on a generated phantom."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from services.medical.low_dose_ct.denoising.blending import DenoiserParameters
from services.medical.low_dose_ct.denoising.noise import equivalent_noise
from services.medical.low_dose_ct.images.attenuation import MU_MAX, MU_PER_HU, hu_to_attenuation
from services.medical.low_dose_ct.training import dose_range, evaluate_range, network, recipes
from services.medical.low_dose_ct.training.__main__ import main
from services.medical.low_dose_ct.training.chest import ChestSlice, phantom_truth
from services.medical.low_dose_ct.training.data import Pair
from services.medical.low_dose_ct.training.dose_range import (
    KERNELS,
    LARGEST_LEVEL,
    LEAST_LEVEL,
    TYPICAL_LEVEL,
    DoseRangePairs,
    Reconstructions,
    level_of,
    training_reconstructions,
)
from services.medical.low_dose_ct.training.evaluate_range import change_of
from services.medical.low_dose_ct.training.network import DRUNet, Width
from services.medical.low_dose_ct.training.release import release
from services.medical.low_dose_ct.training.weights import (
    finished_weights,
    interpolate,
    load_network,
    load_record,
    save_half,
)
from shared.runtime.cards import read_card

PER_HU = MU_PER_HU / MU_MAX


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reconstructions:
    """One phantom and no slice: the manifest is empty."""
    data = tmp_path_factory.mktemp("data")
    (data / "ct").mkdir()
    with (data / "ct" / "manifest.csv").open("w", encoding="utf-8", newline="") as manifest:
        csv.writer(manifest).writerow(["file", "patient_id", "manufacturer", "kernel", "split"])
    (made,) = training_reconstructions(data, tmp_path_factory.mktemp("cache"), phantoms=1, tuned=1, others=2)
    return made


def test_reconstructions_carry_their_noise(made: Reconstructions) -> None:
    assert [group.shape for group in made.groups] == [(1, 362, 362), (2, 362, 362), (1, 362, 362)]
    np.testing.assert_array_equal(made.groups[2][0], made.truth)
    np.testing.assert_array_equal(made.truth, phantom_truth(0))
    assert float(made.levels[0][0]) == pytest.approx(equivalent_noise(made.groups[0][0]) * PER_HU, rel=1e-5)
    assert float(made.levels[2][0]) < float(made.levels[0][0])


@pytest.mark.parametrize(("noise_hu", "level"), [(1.0, LEAST_LEVEL), (63.0, TYPICAL_LEVEL), (5000.0, LARGEST_LEVEL)])
def test_levels_stay_within_what_the_network_is_told(
    noise_hu: float, level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dose_range, "equivalent_noise", lambda _: noise_hu)
    assert level_of(np.zeros((8, 8), np.float32)) == pytest.approx(level)


def test_kernels_go_from_the_smooth_reference_to_ram_lak() -> None:
    assert {("hann", 1.0), ("hann", 25 / 39), ("ram-lak", 1.0)} <= set(KERNELS)


def test_batches_hold_patches_of_the_wanted_size(made: Reconstructions) -> None:
    noisy, levels, clean = DoseRangePairs([made], side=32, batch=6)(np.random.default_rng(1))
    assert noisy.shape == clean.shape == (6, 1, 32, 32)
    assert levels.shape == (6,)
    assert noisy.dtype == levels.dtype == clean.dtype == torch.float32


@pytest.mark.parametrize("times", [0.5, 1.0, 4.0])
def test_patches_are_scaled_so_that_squared_errors_count_by_one_over_their_noise(
    times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dose_range, "_JITTER", 0.0)
    image, level = np.full((40, 40), 0.3, np.float32), np.array([times * TYPICAL_LEVEL], np.float32)
    same = Reconstructions(image * np.float32(0.5), (image[None],) * 3, (level,) * 3)
    noisy, levels, clean = DoseRangePairs([same], side=32, batch=4)(np.random.default_rng(1))
    scale = times**-0.5
    for found, expected in ((noisy, 0.3 * scale), (clean, 0.15 * scale), (levels, float(level[0]) * scale)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_scaling_changes_nothing_else_as_the_network_is_homogeneous() -> None:
    torch.manual_seed(0)
    denoiser = DRUNet(Width(channels=(4, 4, 8, 8), blocks=1)).eval()
    image, level = torch.rand(1, 1, 16, 24), torch.tensor([0.05])
    with torch.inference_mode():
        torch.testing.assert_close(denoiser(image * 3, level * 3), denoiser(image, level) * 3)


def test_normal_dose_slices_are_a_group_of_their_own(made: Reconstructions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dose_range, "_SHARES", (0.0, 0.0, 1.0))
    noisy, _, clean = DoseRangePairs([made], side=32, batch=4)(np.random.default_rng(1))
    torch.testing.assert_close(noisy, clean)


def test_change_of_a_slice_is_measured_in_hounsfield_units() -> None:
    image = hu_to_attenuation(np.full((20, 20), 40.0), clip=False)
    brighter = change_of(image, lambda given: (given + np.float32(170 * PER_HU), 1.0))
    assert brighter["rms_soft_tissue_hu"] == brighter["rms_hu"] == pytest.approx(170, abs=0.01)
    assert (brighter["new_bright_pixels"], brighter["network_share"]) == (400, 1)
    vacuum = change_of(image, lambda given: (given - np.float32(2000 * PER_HU), 1.0))
    assert vacuum["below_vacuum_pixels"] == 400
    nothing = change_of(image, lambda given: (given, 0.0))
    assert set(nothing.values()) == {0.0}


def test_answers_are_measured_on_every_condition_beside_the_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slices = [ChestSlice(tmp_path / f"{name}.dcm", name, "-", "-", "test") for name in "ab"]
    monkeypatch.setattr(evaluate_range, "CONDITIONS", evaluate_range.CONDITIONS[:1])
    monkeypatch.setattr(evaluate_range, "chest_slices", lambda *_: slices)
    monkeypatch.setattr(evaluate_range, "read_truth", lambda _: phantom_truth(0))
    monkeypatch.setattr(evaluate_range, "chest_sinogram", lambda *_: np.full((1000, 513), 0.01, np.float32))
    monkeypatch.setattr(evaluate_range, "_posted", lambda _: phantom_truth(0))
    answers = {"same": lambda image: (image, 0.0), "brighter": lambda image: (image + np.float32(0.1), 1.0)}
    result = evaluate_range.evaluate_range(answers, tmp_path, tmp_path)
    (scan,) = result["scans"]
    assert scan["psnr"]["same"] == scan["psnr"]["input"]
    assert scan["psnr"]["brighter"]["mean"] != scan["psnr"]["input"]["mean"]
    assert result["normal_dose"]["brighter"]["rms_hu"]["largest"] == pytest.approx(0.1 / PER_HU, rel=1e-3)
    table = evaluate_range.range_table(result)
    assert "| soft tissue, HU rms | 0.0 (at most 0.0) | 407" in table
    assert "500 photons, Hann 1.0 (tuned)" in table


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_weights_are_interpolated(share: float) -> None:
    torch.manual_seed(0)
    width = Width(channels=(4, 4, 4, 4), blocks=1)
    first, second = DRUNet(width), DRUNet(width)
    between = interpolate(first, second, share).state_dict()
    for name, weights in first.state_dict().items():
        torch.testing.assert_close(between[name], (1 - share) * weights + share * second.state_dict()[name])


def test_widening_ends_in_weights_between_those_it_started_from_and_the_trained_ones(
    made: Reconstructions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(network.WIDTHS, "slim", Width(channels=(4, 4, 4, 4), blocks=1))
    small = Pair(made.truth[:32, :32], made.groups[0][:, :32, :32])
    monkeypatch.setattr(recipes, "training_reconstructions", lambda *_, **__: [made])
    monkeypatch.setattr(recipes, "chest_pairs", lambda *_, **__: [small])
    monkeypatch.setattr(recipes, "chest_slices", lambda *_: [])
    torch.manual_seed(1)
    first, initial, out = DRUNet(network.WIDTHS["slim"]), tmp_path / "first.pt", tmp_path / "widened"
    save_half(first, {}, initial)
    words = ["widen", "--initial", str(initial), "--out", str(out), "--steps", "2", "--side", "16", "--threads", "1"]
    main([*words, "--data", str(tmp_path)])
    record = load_record(finished_weights(out))
    assert (record["share"], record["largest_level"]) == (0.4, LARGEST_LEVEL)
    assert "--share 0.4" in record["command"]
    started, trained, ended = (
        load_network(file, "slim").head.weight for file in (initial, out / "checkpoint.pt", finished_weights(out))
    )
    torch.testing.assert_close(ended, started + 0.4 * (trained - started), atol=1e-3, rtol=1e-3)
    folder = release("low-dose-ct", checkpoint=finished_weights(out), models=tmp_path / "models")
    parameters = DenoiserParameters.of(read_card(folder))
    assert parameters.blend_hu == (28.0, 40.0)
    assert parameters.noise_range == (LEAST_LEVEL, LARGEST_LEVEL)
