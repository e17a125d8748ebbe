from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from services.medical.low_dose_ct.training.export import export_network, measure_parity
from services.medical.low_dose_ct.training.inference import released_denoiser
from services.medical.low_dose_ct.training.network import DRUNet, Width
from shared.runtime.models.releases import weights_of


@pytest.fixture(scope="module")
def network() -> DRUNet:
    torch.manual_seed(0)
    return DRUNet(Width(channels=(4, 4, 8, 8), blocks=1)).eval()


@pytest.fixture(scope="module")
def file(network: DRUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("release") / "model.onnx"
    export_network(network, file)
    return file


def test_exported_graph_is_complete_and_sizes_are_free(file: Path) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.name for entry in model.graph.input] == ["image", "noise_level"]
    shape = model.graph.output[0].type.tensor_type.shape.dim
    sizes = [dimension.dim_param or dimension.dim_value for dimension in shape]
    assert sizes == ["batch", 1, "height", "width"]
    assert weights_of(file.read_bytes()).bytes == file.stat().st_size


def test_onnxruntime_agrees_with_torch_at_any_size(network: DRUNet, file: Path) -> None:
    parity = measure_parity(network, file, [(362, 362), (361, 363), (17, 40), (5, 8), (64, 64)])
    assert parity.max_abs_difference < 1e-5


def test_batches_of_different_levels_are_denoised_apart(file: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((2, 1, 20, 30), dtype=np.float32)
    levels = np.array([0.02, 0.2], dtype=np.float32)
    together = session.run(["clean"], {"image": images, "noise_level": levels})[0]
    denoise = released_denoiser(file)
    for index in range(2):
        alone = denoise(images[index, 0], float(levels[index]))
        np.testing.assert_allclose(together[index, 0], alone, atol=1e-6)
