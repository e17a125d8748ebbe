"""A local BLIP of random weights: its two graphs write what transformers write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

from services.perception.captioning.captioners import Captioners
from services.perception.captioning.training import __main__ as command_line
from services.perception.captioning.training.blip import (
    LocalBlip,
    UnusableFolder,
    generate,
    read_blip,
)
from services.perception.captioning.training.parity import mosaics
from shared.runtime.models.registry import ModelRegistry
from tests.support.capability import png
from tests.support.captioners import mosaic

SIDE = 32
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "snow", "##board", "##er", "on", "the", "."]
START = len(PIECES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `save_pretrained` writes it."""
    place = tmp_path_factory.mktemp("blip")
    common = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    text = {
        **common,
        "encoder_hidden_size": 32,
        "vocab_size": len(PIECES) + 2,
        "max_position_embeddings": 16,
        "bos_token_id": START,
        "eos_token_id": 2,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = BlipConfig(text_config=text, vision_config={**common, "image_size": SIDE, "patch_size": 8})
    torch.manual_seed(2)
    model = BlipForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower() and name.endswith("weight"):
            torch.nn.init.ones_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.4)
    with torch.no_grad():
        model.text_decoder.cls.predictions.decoder.bias[3] -= 3  # or captions would end with their first words
    model.save_pretrained(place)
    (place / "vocab.txt").write_text("\n".join(PIECES), encoding="utf-8")
    BertTokenizer(str(place / "vocab.txt")).save_pretrained(place)
    stated = {
        "do_resize": True,
        "size": {"height": SIDE, "width": SIDE},
        "resample": 3,
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    }
    (place / "preprocessor_config.json").write_text(json.dumps(stated), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def local(folder: Path) -> LocalBlip:
    return read_blip(folder)


@pytest.fixture(scope="module")
def models(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    place = tmp_path_factory.mktemp("models")
    said = ["--name", "own-blip", "--version", "2.0.0", "--licence", "of the user"]
    command_line.main(["--threads", "1", "blip", str(folder), "--out", str(place), *said])
    registry = ModelRegistry(place, threads=1)
    registry.open()
    return registry


def test_the_folder_says_what_pieces_and_pictures_are(local: LocalBlip) -> None:
    assert local.words == (*PIECES, "[14]", "[15]")
    assert local.forbidden == (0, 1, 2, 4, 14, 15)
    assert local.grid == (4, 4)
    assert (local.preprocessing.region, local.preprocessing.filter) == ("whole", "bicubic")


def test_it_is_a_captioner_that_writes_what_transformers_write(local: LocalBlip, models: ModelRegistry) -> None:
    captioner = Captioners().find(models, "own-blip")
    assert (captioner.decoder.card.version, captioner.decoder.card.licence) == ("2.0.0", "of the user")
    pictures = mosaics(12, captioner.sides)
    encoded = captioner.named(captioner.encoder.run({captioner.input: pictures}))
    found = captioner.search(encoded, beams=1, most_words=10)
    expected = generate(local, pictures, 10)
    same = [best[0].words == words for best, words in zip(found, expected, strict=True)]
    assert sum(same) >= 11  # the files have weights in half precision
    assert len(set(expected)) > 1
    for (caption,) in found:
        assert caption.attention.shape == (len(caption.words), 16)
        np.testing.assert_allclose(caption.attention.sum(axis=1), 1, atol=1e-4)


def test_its_pieces_make_words(models: ModelRegistry) -> None:
    captioner = Captioners().find(models, None)
    assert captioner.role.join(["a", "snow", "##board", "##er"]) == "a snowboarder"
    assert captioner.role.most_words == 15
    seen = captioner.read(png(mosaic(0)), pixel_limit=10_000, pointer="/body/file")
    assert seen.pixels.shape == (3, SIDE, SIDE)


def test_what_it_is_not_made_for_is_said(local: LocalBlip, folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    stated = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    for change, said in (({"do_center_crop": True}, "not scaled whole"), ({"resample": 0}, "filter 0")):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated | change), encoding="utf-8")
        with pytest.raises(UnusableFolder, match=said):
            read_blip(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(UnusableFolder, match="no preprocessor_config"):
        read_blip(tmp_path)
