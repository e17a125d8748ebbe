"""Captioners out of two sessions: several pictures at once, beams, where they looked, and what they are made of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.perception.captioning.captioners import Captioner, Captioners
from services.perception.captioning.decoding import DecodedCaption, SearchOptions, search_beams, search_greedily
from services.perception.captioning.roles import DecoderRole
from services.perception.captioning.training.features import PREPROCESSING, read_picture
from shared.problems import NotFound, Problem, ServiceUnavailable, UnprocessableContent
from shared.runtime.cards import read_card
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.sessions import OnnxModel
from tests.support.capability import png
from tests.support.captioners import GRID, SIDE, WORDS, change_card, mosaic

KINDS = ("lstm", "transformer")
each_kind = pytest.mark.parametrize("kind", KINDS)


def pictures(captioner: Captioner, count: int) -> NDArray[np.float32]:
    seen = [captioner.read(png(mosaic(seed)), pixel_limit=10_000, pointer="/body/file") for seed in range(count)]
    return np.stack([one.pixels for one in seen])


def encode(captioner: Captioner, seen: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    return captioner.named(captioner.encoder.run({captioner.input: seen}))


def same(one: DecodedCaption, other: DecodedCaption) -> bool:
    np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-4)
    np.testing.assert_allclose(one.attention, other.attention, atol=1e-4)
    return one.words == other.words


@each_kind
@pytest.mark.parametrize("beams", [1, 4])
def test_pictures_captioned_together_have_the_captions_of_each_alone(
    kind: str, beams: int, captioner: Callable[[str], Captioner]
) -> None:
    made = captioner(kind)
    seen = pictures(made, 5)
    together = made.search(encode(made, seen), beams=beams, captions=beams, most_words=8)
    alone = [made.search(encode(made, one[None]), beams=beams, captions=beams, most_words=8)[0] for one in seen]
    assert len({best[0].words for best in together}) > 1
    for these, those in zip(together, alone, strict=True):
        assert len(these) == len(those) <= beams
        assert all(same(one, other) for one, other in zip(these, those, strict=True))


@each_kind
def test_one_beam_is_the_greedy_search(kind: str, captioner: Callable[[str], Captioner]) -> None:
    made = captioner(kind)
    encoded = encode(made, pictures(made, 4))
    states, contexts = (tuple(encoded[name] for name in names) for names in (made.wiring.states, made.wiring.contexts))
    options = SearchOptions(width=1, maximum=8)
    greedy, beams = (search(made.step, states, contexts, options) for search in (search_greedily, search_beams))
    served = made.search(encoded, beams=1, most_words=8)
    for one, beam, answered in zip(greedy, beams, served, strict=True):
        assert isinstance(one, DecodedCaption)
        assert isinstance(beam, list)
        assert same(one, beam[0])
        assert same(one, answered[0])
        assert one.score == pytest.approx(beam[0].score) == pytest.approx(answered[0].score)


@each_kind
def test_more_beams_find_nothing_worse(kind: str, captioner: Callable[[str], Captioner]) -> None:
    made = captioner(kind)
    encoded = encode(made, pictures(made, 6))
    found = {beams: made.search(encoded, beams=beams, captions=2, most_words=6) for beams in (1, 10)}
    assert np.mean([best[0].score for best in found[10]]) >= np.mean([best[0].score for best in found[1]])
    for best in found[10]:
        assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
        assert len({one.words for one in best}) == len(best) == 2


@each_kind
def test_attention_is_a_share_of_each_place(kind: str, captioner: Callable[[str], Captioner]) -> None:
    made = captioner(kind)
    for (caption,) in made.search(encode(made, pictures(made, 3)), beams=1, most_words=8):
        assert caption.attention.shape == (len(caption.words), GRID[0] * GRID[1])
        np.testing.assert_allclose(caption.attention.sum(axis=1), 1, atol=1e-5)
        assert caption.attention.min() >= 0


def test_a_picture_is_read_as_in_training(captioner: Callable[[str], Captioner], tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(png(mosaic(3, height=112, width=112)))
    seen = captioner("lstm").read(file.read_bytes(), pixel_limit=10**6, pointer="/body/file")
    np.testing.assert_array_equal(seen.pixels, read_picture(file, SIDE))
    assert captioner("lstm").preprocessing == PREPROCESSING
    assert (seen.height, seen.width, seen.box) == (112, 112, (0, 0, 112, 112))


def test_a_role_says_what_words_make() -> None:
    card: dict[str, Any] = {"encoder": "e", "encoder_sha256": "0" * 64, "grid": [1, 1], "start": 0, "end": 1}
    role = DecoderRole(words=["a", "b"], most_words=3, **card)
    assert role.join(["a", "man", "'s", "dog"]) == "a man's dog"
    pieces = DecoderRole(words=["a", "b"], most_words=3, joining="word_pieces", **card)
    assert pieces.join(["a", "snow", "##board", "##er"]) == "a snowboarder"
    with pytest.raises(ValueError, match="numbers of words"):
        DecoderRole(words=["a", "b"], most_words=3, **(card | {"end": 2}))


def opened(models: Path) -> ModelRegistry:
    registry = ModelRegistry(models, threads=1)
    registry.open()
    return registry


def refusal(registry: ModelRegistry, name: str | None) -> Problem:
    with pytest.raises(Problem) as raised:
        Captioners().find(registry, name)
    return raised.value


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parameters: parameters["captioning"].__setitem__(name, value)


WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "no part": ("decoder", lambda parameters: parameters.pop("captioning"), "no parameters.captioning"),
    "unknown part": ("decoder", _set("role", "poet"), "role"),
    "too few words": ("decoder", _set("words", ["<pad>", "<start>", "<end>", "<unknown>", "a"]), "5 words of its card"),
    "another grid": ("decoder", _set("grid", [3, 4]), "12 places of its grid"),
    "another encoder": ("decoder", _set("encoder_sha256", "0" * 64), "000000000000..., is not loaded"),
    "encoder without its part": ("encoder", lambda parameters: parameters.pop("captioning"), "does not say"),
    "no such cut": ("encoder", lambda parameters: parameters.__setitem__("preprocessing", {"region": "left"}), "wrong"),
}


@pytest.mark.parametrize(("part", "change", "said"), WRONG.values(), ids=list(WRONG))
def test_what_makes_no_captioner_is_refused_with_the_reason(
    part: str, change: Callable[[dict[str, Any]], None], said: str, released: Path, tmp_path: Path
) -> None:
    for name in ("tiny-lstm", "tiny-lstm-encoder"):
        shutil.copytree(released / name, tmp_path / name)
    change_card(tmp_path / ("tiny-lstm" if part == "decoder" else "tiny-lstm-encoder") / "1.0.0", change)
    problem = refusal(opened(tmp_path), "tiny-lstm")
    assert isinstance(problem, UnprocessableContent)
    assert problem.errors[0].pointer == "/body/model"
    assert said in problem.errors[0].detail


def test_an_encoder_of_other_outputs_is_refused(released: Path, tmp_path: Path) -> None:
    shutil.copytree(released / "tiny-transformer-encoder", tmp_path / "tiny-transformer-encoder")
    shutil.copytree(released / "tiny-lstm", tmp_path / "tiny-lstm")
    other = read_card(tmp_path / "tiny-transformer-encoder" / "1.0.0")
    change_card(
        tmp_path / "tiny-lstm" / "1.0.0",
        lambda parameters: parameters["captioning"].update(encoder=other.name, encoder_sha256=other.weights.sha256),
    )
    assert "its encoder gives place_keys" in refusal(opened(tmp_path), "tiny-lstm").errors[0].detail


def test_without_a_name_the_first_captioner_answers(released: Path, tmp_path: Path) -> None:
    registry = opened(released)
    assert Captioners().find(registry, None).reference.name == "tiny-lstm"
    assert "Captioners here: tiny-lstm, tiny-transformer" in refusal(registry, "tiny-lstm-encoder").errors[0].detail
    assert isinstance(refusal(registry, "nothing"), NotFound)
    assert "No captioner is released" in refusal(opened(tmp_path), None).errors[0].detail
    assert isinstance(refusal(ModelRegistry(released, threads=1), None), ServiceUnavailable)


def test_a_newer_version_brings_its_own_encoder(released: Path, tmp_path: Path) -> None:
    """Both versions of an encoder are open: each decoder finds the one that it was trained with."""
    shutil.copytree(released / "tiny-lstm", tmp_path / "tiny-lstm")
    shutil.copytree(released / "tiny-lstm-encoder", tmp_path / "tiny-lstm-encoder")
    newer = tmp_path / "tiny-lstm-encoder" / "2.0.0"
    shutil.copytree(released / "tiny-transformer-encoder" / "1.0.0", newer)
    card = json.loads((newer / "card.json").read_text(encoding="utf-8"))
    (newer / "card.json").write_text(json.dumps(card | {"name": "tiny-lstm-encoder", "version": "2.0.0"}))
    found = Captioners().find(opened(tmp_path), "tiny-lstm")
    assert found.encoder.card.version == "1.0.0"


def test_what_is_no_number_is_refused(captioner: Callable[[str], Captioner], monkeypatch: pytest.MonkeyPatch) -> None:
    made = captioner("lstm")
    encoded = encode(made, pictures(made, 1))
    encoded["hidden"] = np.full_like(encoded["hidden"], np.nan)
    with pytest.raises(UnprocessableContent, match="not numbers"):
        made.search(encoded, beams=2)


def test_rows_of_a_step_are_bounded_by_what_they_hold(
    captioner: Callable[[str], Captioner], monkeypatch: pytest.MonkeyPatch
) -> None:
    lstm, transformer = (captioner(kind) for kind in KINDS)
    assert lstm.most_rows == transformer.most_rows == 32
    places, width, layers = GRID[0] * GRID[1], 16, 3
    monkeypatch.setattr("services.perception.captioning.captioners.CONTEXT_BYTES", 2 * 4 * places * width * layers * 5)
    assert transformer.most_rows == 5
    assert lstm.most_rows == 5 * layers
    monkeypatch.setattr("services.perception.captioning.captioners.CONTEXT_BYTES", 1)
    assert lstm.most_rows == 1


def test_nothing_is_opened_before_it_is_asked_for(released: Path) -> None:
    found = Captioners().find(opened(released), "tiny-transformer")
    assert isinstance(found.encoder, OnnxModel)
    assert not found.encoder.is_open()
    assert not found.decoder.is_open()
    assert len(found.role.words) == 4 + len(WORDS)
