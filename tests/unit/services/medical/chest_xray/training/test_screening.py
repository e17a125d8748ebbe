"""Screening: the graph that is added to a model, the head's file, its threshold, and a head that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from services.medical.chest_xray.films import prepare_film
from services.medical.chest_xray.training import screening
from services.medical.chest_xray.training.frozen_features import FrozenFeatures
from services.medical.chest_xray.training.other_pictures import Kind, Split
from services.medical.chest_xray.training.screening import (
    HEAD,
    POOLINGS,
    SIZE,
    Pictures,
    Reader,
    ScreeningHead,
    accepted,
    append_frontal,
    frontal_graph,
    screening_features,
    train_screening,
    vary_film,
)

CELLS = 1600
RANDOM = np.random.default_rng(4)
HEAD_OF_CHANCE = ScreeningHead(RANDOM.normal(size=CELLS).astype(np.float32), 0.5, 0.25)


def run(model: onnx.ModelProto, films: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {"film": films[:, None]}), strict=True))


@pytest.fixture(scope="module")
def films() -> NDArray[np.float32]:
    """Prepared films of noise."""
    return RANDOM.random((2, *SIZE)).astype(np.float32)


def test_the_graph_gives_the_logits_of_the_head(films: NDArray[np.float32]) -> None:
    features = FrozenFeatures(screening_features())(films)
    assert features.shape == (2, CELLS)
    found = run(frontal_graph(HEAD_OF_CHANCE), films)["frontal"]
    assert found.shape == (2,)
    assert found == pytest.approx(HEAD_OF_CHANCE(features), rel=1e-4)


def model_with(outputs: tuple[str, ...]) -> onnx.ModelProto:
    nodes = [helper.make_node("ReduceMean", ["film"], [name], keepdims=0) for name in outputs]
    film = helper.make_tensor_value_info("film", TensorProto.FLOAT, ["n", 1, *SIZE])
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in outputs]
    graph = helper.make_graph(nodes, "other", [film], infos)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_model_keeps_its_outputs_and_gets_another(films: NDArray[np.float32]) -> None:
    model = model_with(("logits",))
    before = model.SerializeToString()
    found = append_frontal(model, HEAD_OF_CHANCE)
    answers = run(found, films)
    assert answers["logits"] == pytest.approx(films.mean(), rel=1e-4)
    assert answers["frontal"] == pytest.approx(run(frontal_graph(HEAD_OF_CHANCE), films)["frontal"], rel=1e-5)
    assert {one.key: float(one.value) for one in found.metadata_props} == {"frontal_threshold": 0.25}
    assert model.SerializeToString() == before
    assert len(found.SerializeToString()) < 1.2e6


@pytest.mark.parametrize("model", [model_with(("frontal",)), onnx.ModelProto()])
def test_a_model_that_cannot_have_the_output_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="without the output frontal"):
        append_frontal(model, HEAD_OF_CHANCE)


def test_features_are_means_of_a_map_of_the_published_network(films: NDArray[np.float32]) -> None:
    import torch

    from services.medical.chest_xray.training.frozen_features import read_backbone
    from services.optimisation.efficientnet_lite import EfficientNetLite
    from services.perception.detection.optimisation.published_backbone import weights_of_classifier

    network = EfficientNetLite().eval()
    network.load_state_dict(weights_of_classifier(read_backbone().SerializeToString()))
    stem, _ = network.split(0)
    with torch.no_grad():
        found = stem(torch.from_numpy(films)[:, None].expand(-1, 3, -1, -1))
        for block in list(network._blocks)[:8]:
            found = block(found)
        cells = [side // count for side, count in zip(found.shape[2:], (5, 4), strict=True)]
        wanted = torch.nn.functional.avg_pool2d(found, cells).flatten(1)
    assert FrozenFeatures(screening_features())(films) == pytest.approx(wanted.numpy(), abs=2e-3)


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    HEAD_OF_CHANCE.write(tmp_path / "head.npz")
    found = ScreeningHead.read(tmp_path / "head.npz")
    assert np.array_equal(found.weight, HEAD_OF_CHANCE.weight)
    assert (found.bias, found.threshold) == (HEAD_OF_CHANCE.bias, HEAD_OF_CHANCE.threshold)


def test_a_head_for_films_prepared_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HEAD_OF_CHANCE.write(tmp_path / "head.npz")
    monkeypatch.setattr(screening, "PREPROCESSING", "films-0")
    with pytest.raises(ValueError, match="films of films-1, not of films-0"):
        ScreeningHead.read(tmp_path / "head.npz")


class FewFeatures(Reader):
    """Films around 1 and others around -1, in features drawn at random."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def draw(self, mean: float, count: int) -> Pictures:
        features = self.random.normal(mean, 1.0, (count, 6)).astype(np.float32)
        return Pictures(features, np.arange(count))

    def films(self, split: Split) -> Pictures:
        return self.draw(1.0, 400)

    def varied_films(self, split: Split, copies: int, *, seed: int = 0) -> Pictures:
        return self.draw(1.0, 100)

    def kind(self, kind: Kind, split: Split) -> Pictures:
        return self.draw(-1.0, 30)


def test_a_head_tells_kinds_apart_and_refuses_the_stated_share_of_validation_films() -> None:
    reader = FewFeatures()
    head = train_screening(reader)
    assert (head.weight > 0).all()
    rates = {
        name: accepted(head(reader.draw(mean, 4000).features), head.threshold)
        for name, mean in (("yes", 1), ("no", -1))
    }
    assert rates["yes"]["share"] == pytest.approx(0.985, abs=0.012)
    assert rates["no"]["share"] < 0.15


def test_shares_have_their_wilson_interval() -> None:
    found = accepted(np.array([1.0, 2.0, -1.0, 0.0]), 0.0)
    assert (found["pictures"], found["accepted"], found["share"]) == (4, 3, 0.75)
    assert (found["low"], found["high"]) == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_varied_films_stay_films() -> None:
    film = RANDOM.random((100, 80)).astype(np.float32)
    for _ in range(20):
        found = vary_film(film, RANDOM)
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1
        assert 0.75 <= found.shape[0] / 100 <= 1.35
        assert prepare_film(found, SIZE).array.std() > 0.01


@pytest.mark.skipif(not HEAD.exists(), reason="no head is trained")
def test_the_trained_head_refuses_what_is_drawn_here() -> None:
    head = ScreeningHead.read()
    assert head.weight.shape == (sum(one.rows * one.columns for one in POOLINGS) * 80,)
    rows, columns = np.mgrid[:320, :256] / 256
    drawn = np.stack([np.full(SIZE, 0.5), RANDOM.random(SIZE), rows / rows.max(), (np.sin(40 * columns) > 0) * 1.0])
    logits = head(FrozenFeatures(screening_features())(drawn.astype(np.float32)))
    assert (logits < head.threshold).all()
