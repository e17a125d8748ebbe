"""The committed checkpoints are what the released files were made of and what the evaluation compares them with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.medical.low_dose_ct.training.evaluate import CHEST_CONTROLS, ELLIPSES_NETWORKS
from services.medical.low_dose_ct.training.inference import network_denoiser, released_denoiser
from services.medical.low_dose_ct.training.release import RELEASES, release_folder
from services.medical.low_dose_ct.training.weights import CHECKPOINTS, load_network, load_record
from shared.runtime.models.releases import MODEL_FILE

COMMITTED = sorted(CHECKPOINTS.glob("*.pt"))


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_a_released_file_is_its_checkpoint(name: str) -> None:
    checkpoint = CHECKPOINTS / f"{RELEASES[name][0]}.pt"
    network = network_denoiser(load_network(checkpoint, load_record(checkpoint)["width"]))
    image = np.random.default_rng(0).random((45, 70), dtype=np.float32)
    released = released_denoiser(release_folder(name) / MODEL_FILE, threads=1)
    np.testing.assert_allclose(released(image, 0.1), network(image, 0.1), atol=1e-5)


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
def test_a_checkpoint_says_how_it_came_about(file: Path) -> None:
    record = load_record(file)
    assert record["command"].startswith("python -m services.medical.low_dose_ct.training")
    assert record["budget"]["steps"] > 0
    if file.stem != "gaussian":
        assert 0.001 < record["noise_level"] < 0.2


def test_every_checkpoint_has_its_place() -> None:
    known = {source for source, _ in RELEASES.values()} | {*CHEST_CONTROLS.values(), *ELLIPSES_NETWORKS.values()}
    assert {file.stem for file in COMMITTED} <= known


def test_controls_had_the_budget_of_what_they_are_compared_with() -> None:
    for trained, control in (("chest", "chest-scratch"), ("chest-5-patients", "chest-5-patients-scratch")):
        files = [CHECKPOINTS / f"{name}.pt" for name in (trained, control)]
        if all(file.exists() for file in files):
            first, second = map(load_record, files)
            assert first["budget"] == second["budget"]
            assert first["initial"] != "none"
            assert second["initial"] == "none"
