"""Sessions answer what their graph says, at any size, from any thread."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from shared.runtime.cards import DigestMismatch, read_card, read_weights
from shared.runtime.models.sessions import OnnxModel
from shared.runtime.session_options import session_options
from tests.support.tiny_models import mean_of_neighbours, release


def run(model: OnnxModel, shape: tuple[int, int], level: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(shape[0]).random(shape, dtype=np.float32)
    (answer,) = model.run({"image": image[None, None], "noise_level": np.array([level], dtype=np.float32)})
    return image, answer[0, 0]


@pytest.mark.parametrize("shape", [(8, 8), (37, 64), (101, 5)])
def test_any_size_of_image(shape: tuple[int, int], tmp_path: Path) -> None:
    image, answer = run(OnnxModel.open(release(tmp_path), threads=1), shape)
    np.testing.assert_allclose(answer, mean_of_neighbours(image), rtol=1e-5)


def test_noise_level_reaches_the_graph(tmp_path: Path) -> None:
    image, answer = run(OnnxModel.open(release(tmp_path, kind="brighten"), threads=1), (8, 9), level=0.25)
    np.testing.assert_allclose(answer, image + 0.25, rtol=1e-6)


def test_one_session_serves_threads_side_by_side(tmp_path: Path) -> None:
    model = OnnxModel.open(release(tmp_path), threads=1)
    with ThreadPoolExecutor(4) as pool:
        for image, answer in pool.map(lambda side: run(model, (side, side)), range(8, 40)):
            np.testing.assert_allclose(answer, mean_of_neighbours(image), rtol=1e-5)


def test_warm_up_runs_the_graph_once(tmp_path: Path) -> None:
    assert OnnxModel.open(release(tmp_path), threads=1).warm_up() > 0


def test_warm_up_finds_a_card_that_does_not_fit_its_graph(tmp_path: Path) -> None:
    tensor = {"dtype": "float32", "shape": [1], "unit": "1", "description": "-"}
    folder = release(tmp_path, inputs=[tensor | {"name": "picture"}])
    with pytest.raises(Exception, match="picture"):
        OnnxModel.open(folder, threads=1).warm_up()


def test_wrong_weights_are_not_opened(tmp_path: Path) -> None:
    folder = release(tmp_path)
    (folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(DigestMismatch):
        OnnxModel.open(folder, threads=1)


def test_an_open_model_keeps_no_copy_of_its_file(tmp_path: Path) -> None:
    folder = release(tmp_path)
    card = read_card(folder)
    weights = read_weights(folder, card)
    before = sys.getrefcount(weights)
    model = OnnxModel(card, weights, threads=1)
    assert model.warm_up() > 0
    assert sys.getrefcount(weights) == before


def test_threads_are_explicit_and_spin_for_a_moment_within_a_run_only() -> None:
    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "20"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert not options.enable_cpu_mem_arena
