"""Cards are read strictly, and weights only if they are those of the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.runtime.cards import CARD_FILE, DigestMismatch, UploadedCard, read_card, read_weights, reference_of
from tests.support.own_models import own_card, scale
from tests.support.tiny_models import card_of, denoiser, release


def rewrite_card(folder: Path, **changes: object) -> None:
    (folder / CARD_FILE).write_text(json.dumps(card_of(denoiser("mean")) | changes))


def test_card_and_weights_are_read(tmp_path: Path) -> None:
    folder = release(tmp_path, parameters={"noise_level": 0.05})
    card = read_card(folder)
    assert read_weights(folder, card) == (folder / "model.onnx").read_bytes()
    assert card.parameters == {"noise_level": 0.05}
    assert reference_of(card).model_dump() == {
        "name": "low-dose-ct", "version": "1.0.0", "weights_sha256": card.weights.sha256,
    }  # fmt: skip


def test_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    folder = release(tmp_path)
    rewrite_card(folder, accuracy=1.0)
    with pytest.raises(ValidationError, match="accuracy"):
        read_card(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "1.0"),
        ("name", "Low Dose CT"),
        ("weights", {"file": "model.onnx", "sha256": "abc", "bytes": 3}),
        ("quality", None),
    ],
)
def test_malformed_field_is_refused_by_name(field: str, value: object, tmp_path: Path) -> None:
    folder = release(tmp_path)
    rewrite_card(folder, **{field: value})
    with pytest.raises(ValidationError, match=field):
        read_card(folder)


def test_missing_card(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_card(tmp_path)


def test_one_changed_byte_of_the_weights_is_found(tmp_path: Path) -> None:
    folder = release(tmp_path)
    weights = bytearray((folder / "model.onnx").read_bytes())
    weights[-1] ^= 1
    (folder / "model.onnx").write_bytes(weights)
    card = read_card(folder)
    with pytest.raises(DigestMismatch, match=f"low-dose-ct 1.0.0.*{card.weights.sha256[:12]}"):
        read_weights(folder, card)


def test_missing_weights(tmp_path: Path) -> None:
    folder = release(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(DigestMismatch, match=r"model\.onnx is missing"):
        read_weights(folder, read_card(folder))


NO_NAMES = (
    "",
    "-a",
    ".a",
    "_a",
    "a..b",
    "a.",
    "..",
    ".",
    "a/b",
    "a b",
    "a:b",
    "ä",
    "x" * 65,
    "a\n",
    "%2e",
    "a*",
    "../a",
)
NO_VERSIONS = (
    "01.0.0",
    "1.00.0",
    "1.0.01",
    "1.0",
    "1",
    "1.0.0.0",
    "v1.0.0",
    "1.0.0-rc1",
    "1.0.0\n",
    "1.0.1000000",
    "1١.0.0",
)


@pytest.mark.parametrize(
    ("field", "value"), [*(("name", name) for name in NO_NAMES), *(("version", version) for version in NO_VERSIONS)]
)
def test_names_and_versions_that_are_none(field: str, value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        UploadedCard.model_validate(own_card(scale(2)) | {field: value})
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


@pytest.mark.parametrize("name", ["ResNet50", "resnet50_v1", "yolov8n.pt", "0.1", "a-_b", "x" * 64])
def test_names_as_others_have_them(name: str) -> None:
    assert UploadedCard.model_validate(own_card(scale(2), name=name)).name == name
