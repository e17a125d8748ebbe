from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from services.perception.classification.training import weights as stored
from services.perception.classification.training.evaluate import run
from services.perception.classification.training.network import ResNet18
from services.perception.classification.training.release import release
from services.perception.classification.training.train import Recipe, logits
from shared.datasets.traffic_signs import Signs
from shared.runtime.cards import read_card
from shared.runtime.models.sessions import OnnxModel


@pytest.fixture
def finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stored, "WIDTHS", {"toy": 4})
    torch.manual_seed(0)
    recipe = asdict(Recipe(width="toy", epochs=2))
    state = {"network": ResNet18(width=4).state_dict(), "recipe": recipe, "epoch": 2, "seconds": 3600.0}
    torch.save(state, tmp_path / "checkpoint.pt")
    (tmp_path / "log.jsonl").write_text(
        json.dumps({"validation": 0.5}) + "\n" + json.dumps({"validation": 0.75}) + "\n"
    )
    return tmp_path


def test_half_precision_keeps_the_network(finished_run: Path) -> None:
    record = stored.keep(finished_run, finished_run / "kept.pt")
    network, read = stored.load(finished_run / "kept.pt")
    assert read == record
    assert (record["hours"], record["validation_accuracy"]) == (1.0, 0.75)
    assert "--width toy" in record["command"]
    original = ResNet18(width=4)
    original.load_state_dict(torch.load(finished_run / "checkpoint.pt", weights_only=True)["network"])
    pictures = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), original.eval()(pictures), atol=0.02, rtol=0.02)


def test_an_unfinished_run_is_not_kept(finished_run: Path) -> None:
    state = torch.load(finished_run / "checkpoint.pt", weights_only=True)
    torch.save(state | {"epoch": 1}, finished_run / "checkpoint.pt")
    with pytest.raises(ValueError, match="1 of 2 epochs"):
        stored.keep(finished_run, finished_run / "kept.pt")


def test_the_released_graph_answers_as_torch_does(
    finished_run: Path, stripes: Signs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.perception.classification.training.release.WIDTHS", {"toy": 4})
    stored.keep(finished_run, finished_run / "kept.pt")
    network, record = stored.load(finished_run / "kept.pt")
    folder = release(network, record, stripes, finished_run / "traffic-signs" / "1.0.0")
    model = OnnxModel.open(folder, threads=1)
    np.testing.assert_allclose(run(model, stripes), logits(network, stripes), atol=1e-4)
    card = read_card(folder)
    assert card.parity.max_abs_difference < 1e-4
    assert float(str(card.parameters["temperature"])) > 0
