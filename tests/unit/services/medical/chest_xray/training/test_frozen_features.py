"""Features of the released network that stay frozen: what the graph computes, and its random twin."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from services.medical.chest_xray.training.frozen_features import (
    CHANNELS,
    STAGES,
    STRIDES,
    WHOLE,
    FrozenFeatures,
    Pooling,
    feature_graph,
    randomise,
    read_backbone,
)

SIZE = (64, 96)
FILMS = np.random.default_rng(0).random((3, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def backbone() -> onnx.ModelProto:
    """The released classifier."""
    return read_backbone()


def outputs_of_whole_graph(backbone: onnx.ModelProto, films: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of all stages by the graph as it is, for films of another size."""
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], films.shape[1:], strict=True):
        dimension.dim_value = size
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in STAGES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(list(STAGES), {model.graph.input[0].name: np.repeat(films[:, None], 3, axis=1)})
    return dict(zip(STAGES, found, strict=True))


def test_whole_features_are_means_of_the_stages(backbone: onnx.ModelProto) -> None:
    found = FrozenFeatures(feature_graph(backbone, SIZE, WHOLE))(FILMS)
    stages = outputs_of_whole_graph(backbone, FILMS)
    wanted = np.concatenate([stages[name].mean(axis=(2, 3)) for name in STAGES], axis=1)
    assert found.shape == (3, sum(CHANNELS))
    assert found == pytest.approx(wanted, abs=1e-4)
    for name, channels, stride in zip(STAGES, CHANNELS, STRIDES, strict=True):
        assert stages[name].shape == (3, channels, SIZE[0] // stride, SIZE[1] // stride)


def test_cells_are_in_the_order_of_torchs_adaptive_pooling(backbone: onnx.ModelProto) -> None:
    found = FrozenFeatures(feature_graph(backbone, SIZE, [Pooling(3, rows=2, columns=3)]))(FILMS)
    stage = torch.from_numpy(outputs_of_whole_graph(backbone, FILMS)[STAGES[3]])
    wanted = torch.nn.functional.adaptive_avg_pool2d(stage, (2, 3)).flatten(1).numpy()
    assert found == pytest.approx(wanted, abs=1e-4)


def test_films_are_computed_alike_whatever_else_is_in_the_batch(backbone: onnx.ModelProto) -> None:
    compute = FrozenFeatures(feature_graph(backbone, SIZE, WHOLE[:3]))
    many = compute(np.repeat(FILMS, 4, axis=0))
    assert many[::4] == pytest.approx(compute(FILMS), abs=1e-5)


@pytest.mark.parametrize(("size", "pooling"), [((60, 96), Pooling(0)), (SIZE, Pooling(3, rows=3))])
def test_sizes_and_grids_that_do_not_fit_are_refused(
    backbone: onnx.ModelProto, size: tuple[int, int], pooling: Pooling
) -> None:
    with pytest.raises(ValueError, match=r"multiples|divide"):
        feature_graph(backbone, size, [pooling])


def test_random_weights_are_the_seeds_and_their_features_do_not_vanish(backbone: onnx.ModelProto) -> None:
    films = FILMS[:, :32, :64]
    one, other, again = (randomise(backbone, films, seed=seed) for seed in (0, 1, 0))
    assert one.SerializeToString() == again.SerializeToString() != other.SerializeToString()
    stages = outputs_of_whole_graph(one, films)
    for name in (STAGES[0], STAGES[6]):  # outputs of convolutions, not of sums
        assert stages[name].mean(axis=(0, 2, 3)) == pytest.approx(0, abs=0.02)
        assert stages[name].std(axis=(0, 2, 3)) == pytest.approx(1, abs=0.05)
    assert read_backbone() == backbone, "the released one is left as it is"
