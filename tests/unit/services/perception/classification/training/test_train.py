from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.perception.classification.training import train
from services.perception.classification.training.train import Recipe, Training, learning_rate, logits
from shared.datasets.traffic_signs import Signs, split_by_track

TOY = Recipe(width="toy", epochs=10, batch=16, warm_up=2)


@pytest.fixture(autouse=True)
def _toy_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "WIDTHS", {"toy": 4})


def test_learns_and_goes_on_where_it_was(stripes: Signs, tmp_path: Path) -> None:
    training, validation = split_by_track(stripes, share=0.25)
    whole = Training(TOY, training, validation, tmp_path / "whole").run()
    assert (logits(whole, validation).argmax(1) == validation.classes).mean() > 0.9

    class Killed(Exception):
        pass

    run = Training(TOY, training, validation, tmp_path / "killed")
    save, saved = run._save, []

    def dying_save() -> None:
        save()
        saved.append(run.epoch)
        if len(saved) == 2:
            raise Killed

    run._save = dying_save  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run.run()
    resumed = Training(TOY, training, validation, tmp_path / "killed").run()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_another_recipe_is_refused(stripes: Signs, tmp_path: Path) -> None:
    training, validation = split_by_track(stripes)
    Training(replace(TOY, epochs=1), training, validation, tmp_path).run()
    with pytest.raises(ValueError, match="another recipe"):
        Training(TOY, training, validation, tmp_path).run()


def test_learning_rate_rises_and_falls_to_zero() -> None:
    recipe = Recipe(learning_rate=0.1, warm_up=10)
    rates = np.array([learning_rate(step, recipe, steps=100) for step in range(101)])
    assert rates[9] == pytest.approx(0.1)
    assert rates.argmax() in {9, 10}
    assert rates[-1] == pytest.approx(0)
