"""Released folders: what the cards say, that both files do what the network does, and the commands that write them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from services.perception.captioning.roles import DecoderRole, EncoderRole, read_role
from services.perception.captioning.training import __main__ as command_line
from services.perception.captioning.training import release
from services.perception.captioning.training.caption_training import CaptionRecipe
from services.perception.captioning.training.cards import Figures
from services.perception.captioning.training.exports import export_step
from services.perception.captioning.training.plan import RELEASED, RUNS, PlannedRun
from services.perception.captioning.training.release import ReleaseRefused, release_captioner, released_name
from services.perception.captioning.training.released import read_release
from services.perception.captioning.vocabulary import SPECIALS
from services.training.half_precision import halve_weights
from shared.runtime.cards import ModelCard, read_card, read_weights
from shared.runtime.inspection.verification import verify
from tests.support.captioners import GRID, ORIGIN, SIDE, WORDS, release_tiny, tiny_backbone, tiny_run
from tests.unit.services.perception.captioning.training.conftest import squares_folder

_VALUES = {"BLEU-4": 0.2, "CIDEr-D": 0.5}
FIGURES = Figures(
    "squares", dict.fromkeys(("beams", "greedy"), _VALUES) | {f"neighbours-{count}": _VALUES for count in (1, 10)}
)


@pytest.fixture(scope="module", params=["lstm", "transformer"])
def cards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelCard, ModelCard]:
    """Of an encoder and its decoder, whose files were held against them as a service does."""
    folders = release_tiny(tmp_path_factory.mktemp("models"), "tiny", decoder=request.param)
    for folder in folders:
        verify(read_weights(folder, read_card(folder)), read_card(folder))
    return read_card(folders[0]), read_card(folders[1])


def test_a_decoder_names_its_encoder_and_its_words(cards: tuple[ModelCard, ModelCard]) -> None:
    encoder, decoder = cards
    assert isinstance(read_role(encoder.parameters), EncoderRole)
    role = read_role(decoder.parameters)
    assert isinstance(role, DecoderRole)
    assert (role.encoder, role.encoder_sha256) == (encoder.name, encoder.weights.sha256)
    assert role.words == [*SPECIALS, *WORDS]
    assert role.grid == GRID
    assert encoder.runtime.on_demand
    assert decoder.runtime.on_demand
    assert encoder.inputs[0].shape == ["batch", 3, SIDE, SIDE]
    given = {one.name: one.shape for one in encoder.outputs}
    assert {one.name: one.shape for one in decoder.inputs if one.name != "words"} == given
    growing = [one.name for one in decoder.inputs if "past" in one.shape]
    assert growing == [name for name in ("word_keys", "word_values") if name in {one.name for one in decoder.inputs}]
    assert decoder.parameters.get("warm_up") == ({"past": 1} if growing else None)


def test_what_is_measured_stands_in_both_cards(cards: tuple[ModelCard, ModelCard]) -> None:
    encoder, decoder = cards
    for card in cards:
        assert 0 <= card.parity.max_abs_difference < release.LARGEST_DIFFERENCE
        assert card.latency.value_ms > 0
        assert "half precision" in card.choices[-1]
        assert card.quality == []
    assert "of which 16 of 16 are equal" in decoder.parity.reference
    assert encoder.latency.what == "one picture, onnxruntime"
    assert decoder.latency.what.startswith("one word of one caption, 10 words behind")


def test_quality_stands_beside_the_neighbours_and_stays_with_the_weights(tmp_path: Path) -> None:
    run, backbone = tiny_run("lstm"), tiny_backbone()
    for figures in (FIGURES, None):
        _, folder = release_captioner(run, backbone, ORIGIN, name="tiny", figures=figures, models=tmp_path, side=SIDE)
        quality = read_card(folder).quality
        assert [one.metric for one in quality] == [
            "BLEU-4, best of 3 beams",
            "CIDEr-D, best of 3 beams",
            "BLEU-4, greedy",
            "CIDEr-D, greedy",
        ]
        assert all(one.baseline is not None and "similar photograph" in one.baseline.name for one in quality)


def test_graphs_that_do_something_else_are_not_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = tiny_run("lstm"), tiny_run("lstm", seed=2)
    monkeypatch.setattr(release, "export_step", lambda _, places: export_step(other.captioner, places))
    with pytest.raises(ReleaseRefused, match="differ from the trained network"):
        release_captioner(run, tiny_backbone(), ORIGIN, name="tiny", models=tmp_path, side=SIDE)
    assert not list(tmp_path.iterdir())


def test_half_precision_halves_the_file_and_keeps_its_interface() -> None:
    whole = release.export_captioner(tiny_run("transformer"), tiny_backbone(), side=SIDE)
    halved = onnx.load_model_from_string(halve_weights(whole.decoder))
    single = onnx.load_model_from_string(whole.decoder)
    assert [one.name for one in halved.graph.input] == [one.name for one in single.graph.input]
    assert [one.name for one in halved.graph.output] == [one.name for one in single.graph.output]
    large = {one.name: one.data_type for one in halved.graph.initializer if np.prod(one.dims) > 256}
    assert large
    assert set(large.values()) <= {TensorProto.FLOAT16, TensorProto.INT64}
    assert halved.ByteSize() < single.ByteSize()


def test_releases_are_named_by_decoder_and_backbone() -> None:
    names = [released_name(RUNS[name].recipe) for name in ("lstm-lite0", "transformer-lite2-tuned")]
    assert names == ["captioner-lstm-lite0", "captioner-transformer-lite2-tuned"]
    assert len({released_name(RUNS[name].recipe) for name in RELEASED}) == len(RELEASED)
    with pytest.raises(ReleaseRefused, match="ablation"):
        released_name(RUNS["lstm-lite0-random"].recipe)


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_trained_weights_are_read_back_from_a_release(tmp_path: Path, decoder: str) -> None:
    encoder, _ = release_tiny(tmp_path, "tiny", decoder=decoder)
    trained = tiny_run(decoder)
    found = read_release(tmp_path, "tiny", "1.0.0")
    expected = trained.captioner.state_dict()
    assert found.weights.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_allclose(found.weights[name], weights, rtol=1e-3, atol=1e-6)
    assert found.words == trained.vocabulary.words
    with pytest.raises(ValueError, match="no decoder"):
        read_release(tmp_path, encoder.parent.name, "1.0.0")
    with pytest.raises(OSError, match=r"1\.1\.0"):
        read_release(tmp_path, "tiny", "1.1.0")


def test_commands_train_measure_and_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares_folder(tmp_path / "data" / "captions", {"train": 16, "val": 4, "test": 4})
    recipe = CaptionRecipe(encoder="tiny", width=16, epochs=1, batch=8, warm_up=1, minimum_count=1)
    monkeypatch.setitem(RUNS, "squares", PlannedRun(recipe))
    tuned = replace(recipe, tail_learning_rate=1e-4)
    monkeypatch.setitem(RUNS, "squares-tuned", PlannedRun(tuned, start="squares"))
    monkeypatch.setattr(shutil, "which", lambda _: None)  # METEOR would be downloaded
    monkeypatch.setattr(command_line, "released_name", lambda _: "captioner-squares")
    common = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "runs"), "--threads", "1"]
    command_line.main([*common, "train", "squares", "squares-tuned"])
    command_line.main([*common, "measure", "squares-tuned"])
    command_line.main([*common, "release", "squares-tuned", "--models", str(tmp_path / "models")])
    card = read_card(tmp_path / "models" / "captioner-squares" / "1.0.0")
    found = json.loads((tmp_path / "runs" / "squares-tuned" / "test.json").read_text(encoding="utf-8"))
    assert card.quality[0].value == pytest.approx(found["beams"]["BLEU-1"], abs=1e-4)
    assert card.quality[0].dataset == "Flickr8k at 112 x 112, 4 photographs of the test part of our split"
    assert card.training.command.endswith("training train squares squares-tuned")
    assert "16 photographs" in card.training.data[0]
    assert "after 1 epochs with the backbone as published" in card.training.procedure


def test_a_run_is_tuned_from_its_release_where_its_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = squares_folder(tmp_path / "data" / "captions", {"train": 16, "val": 4, "test": 4}).parent
    recipe = CaptionRecipe(encoder="tiny", width=16, epochs=1, batch=8, warm_up=1, minimum_count=1)
    tuned = replace(recipe, learning_rate=0.0, tail_learning_rate=1e-9)
    monkeypatch.setitem(RUNS, "squares", PlannedRun(recipe))
    monkeypatch.setitem(RUNS, "squares-tuned", PlannedRun(tuned, start="squares"))
    monkeypatch.setattr(command_line, "released_name", lambda _: "captioner-squares")
    monkeypatch.setattr(command_line, "MODELS", tmp_path / "models")
    common = ["--data", str(data), "--out", str(tmp_path / "runs"), "--threads", "1"]
    command_line.main([*common, "train", "squares"])
    command_line.main([*common, "release", "squares", "--models", str(tmp_path / "models")])
    trained = torch.load(tmp_path / "runs" / "squares" / "best.pt", weights_only=True)["captioner"]
    shutil.rmtree(tmp_path / "runs" / "squares")
    command_line.main([*common, "train", "squares-tuned"])
    found = torch.load(tmp_path / "runs" / "squares-tuned" / "best.pt", weights_only=True)["captioner"]
    for name, weights in trained.items():
        np.testing.assert_allclose(found[name], weights, rtol=1e-3, atol=1e-6)

    shutil.rmtree(tmp_path / "runs" / "squares-tuned")
    captions = data / "captions" / "captions.csv"
    captions.write_text(captions.read_text(encoding="utf-8").replace("square", "box"), encoding="utf-8")
    with pytest.raises(ValueError, match="other captions"):
        command_line.main([*common, "train", "squares-tuned"])
