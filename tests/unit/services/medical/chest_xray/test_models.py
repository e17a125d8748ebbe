"""Which models read chest films, and what is said of those that do not keep their word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.medical.chest_xray.demo import draw_chest
from services.medical.chest_xray.films import Film
from services.medical.chest_xray.inference import read_film_blocking, sigmoid
from services.medical.chest_xray.models import ChestModel, read_model
from services.medical.chest_xray.screening import Screening, require_passed
from shared.imaging.signatures import MediaType
from shared.problems import UnprocessableContent
from shared.runtime.models.sessions import OnnxModel
from tests.support.chest_xray_models import SIZE, constant_model, release_chest_model, symmetric_model

FILM = Film(draw_chest(160, 120), MediaType.PNG)


def opened(folder: Path, content: bytes, **card: Any) -> ChestModel:
    release_chest_model(folder, content, **card)
    return read_model(OnnxModel.open(folder / "chest-xray-attention" / "1.0.0", threads=1))


def test_a_model_is_what_its_card_says(tmp_path: Path) -> None:
    model = opened(tmp_path, symmetric_model(), caveats=["Careful."], frontal_threshold=-1.5)
    assert model.role.size == SIZE
    assert model.role.frontal_threshold == -1.5
    assert (model.caveats, model.training_data) == (("Careful.",), "no film")
    assert model.reference.name == "chest-xray-attention"


@pytest.mark.parametrize(
    ("card", "word"),
    [
        ({"classes": ["pneumonia", "normal", "chf_like"]}, "in this order"),
        ({"classes": ["normal"]}, "classes"),
        ({"frontal_threshold": float("nan")}, "frontal_threshold"),
        ({"false_refusal_rate": 2}, "false_refusal_rate"),
        ({"preprocessing": "films-0"}, "films-1"),
        ({"size": [96, 64]}, "float32 input film"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, card: dict[str, Any], word: str) -> None:
    with pytest.raises(UnprocessableContent, match=word):
        opened(tmp_path, symmetric_model(), **card)


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ({"logits": [np.nan, 0, 0]}, "logits are not finite"),
        ({"frontal": np.inf}, "frontal are not finite"),
        ({"attention": np.full(SIZE, -1.0)}, "no density"),
        ({"attention": np.full(SIZE, 1.0)}, "no density"),
        ({"attention": np.full((8, 8), 1 / 64)}, r"attention have the shape \(1, 8, 8\)"),
        ({"logits": [0.0, 0, 0, 0]}, r"logits have the shape \(1, 4\)"),
        ({"evidence": np.zeros((2, 3, 3))}, r"evidence have the shape \(1, 2, 3, 3\)"),
    ],
)
def test_a_model_that_does_not_keep_its_word_is_blamed(tmp_path: Path, answers: dict[str, Any], word: str) -> None:
    model = opened(tmp_path, constant_model(**answers))
    with pytest.raises(UnprocessableContent, match=word) as raised:
        read_film_blocking(FILM, FILM.prepare(SIZE), model)
    assert raised.value.errors[0].pointer == "/body/model"


def test_attention_that_lies_on_the_bars_alone_is_blamed_too(tmp_path: Path) -> None:
    density = np.zeros(SIZE)
    density[0, 0] = 1
    wide = Film(draw_chest(100, 300), MediaType.PNG)
    reading = read_film_blocking(wide, wide.prepare(SIZE), opened(tmp_path, constant_model(attention=density)))
    with pytest.raises(UnprocessableContent, match="nothing on the film"):
        assert reading.attention.any()


def test_evidence_is_rectified_and_at_most_one(tmp_path: Path) -> None:
    coarse = np.zeros((3, 4, 4))
    coarse[0] = -1
    coarse[1, 1, 2] = 5
    reading = read_film_blocking(FILM, FILM.prepare(SIZE), opened(tmp_path, constant_model(evidence=coarse)))
    assert not reading.evidence_map(0).any()
    shown = reading.evidence_map(1)
    assert shown.shape == FILM.shape
    assert (float(shown.min()), float(shown.max())) == (0, 1)
    row, column = divmod(int(shown.argmax()), shown.shape[1])
    assert (row // 40, column // 30) == (1, 2)


@pytest.mark.parametrize("logit", [-800.0, -2.0, 0.0, 3.0, 800.0])
def test_sigmoid(logit: float) -> None:
    assert sigmoid(logit) == pytest.approx(1 / (1 + np.exp(-np.float64(np.clip(logit, -700, 700)))))


def test_a_refusal_says_score_threshold_and_how_often_it_errs() -> None:
    refused = Screening(-2.0, 0.5, 0.0213, "400 held-out frontal films")
    passed = Screening(0.5, 0.5, 0.0213, "400 held-out frontal films")
    assert passed.passed
    require_passed([passed], ["/body/file/0"])
    with pytest.raises(UnprocessableContent) as raised:
        require_passed([passed, refused, refused], ["/body/file/0", "/body/file/1", "/body/file/2"])
    assert [one.pointer for one in raised.value.errors] == ["/body/file/1", "/body/file/2"]
    for said in ("not a frontal chest film", "-2.00", "0.50", "2.1%", "400 held-out frontal films", "screen=false"):
        assert said in raised.value.detail
