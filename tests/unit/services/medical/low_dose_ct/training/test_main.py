"""The command line, from toy training to a released folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.medical.low_dose_ct.training import network
from services.medical.low_dose_ct.training.__main__ import main, parser
from services.medical.low_dose_ct.training.network import Width
from services.medical.low_dose_ct.training.release import release
from services.medical.low_dose_ct.training.weights import load_record
from shared.runtime.cards import read_card, read_weights


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for folder, suffix in (("photos/bsds500/train", "jpg"), ("photos/bsds500/test", "jpg"), ("photos/set12", "png")):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (40, 48), dtype=np.uint8)).save(tmp_path / folder / f"noise.{suffix}")
    return tmp_path


def test_pretraining_ends_in_a_released_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(network.WIDTHS, "slim", Width(channels=(4, 4, 4, 4), blocks=1))
    run = tmp_path / "gaussian"
    main(["pretrain", "--data", str(data), "--out", str(run), "--steps", "2", "--side", "16", "--threads", "1"])
    record = load_record(run / "checkpoint.pt")
    assert record["photographs"] == 2
    assert "--steps 2" in record["command"]
    assert str(tmp_path) not in record["command"]

    folder = release("gaussian-denoiser", checkpoint=run / "checkpoint.pt", models=tmp_path / "models")
    card = read_card(folder)
    assert len(read_weights(folder, card)) == card.weights.bytes
    assert card.training.command == record["command"]
    assert card.parity.max_abs_difference < 1e-5


@pytest.mark.parametrize(
    "command", ["pretrain", "fine-tune", "widen", "ellipses", "train", "evaluate", "export", "keep"]
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args([command, "--help"])
    assert "usage" in capsys.readouterr().out
