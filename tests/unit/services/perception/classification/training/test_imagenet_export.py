"""The graph of the released classifier, written node by node, beside the torch network; and what is downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.classification.training.imagenet.export import build
from services.perception.classification.training.imagenet.release import NAME, release, run
from services.training.packages import PinnedFile, WrongFile, extract
from shared.runtime.cards import read_card
from shared.runtime.models.sessions import OnnxModel
from tests.support.archives import zipped


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights whose features neither vanish nor saturate everywhere."""
    torch.manual_seed(0)
    network = EfficientNetLite()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 1, 1)
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 224, 224))
    return dict(network.state_dict())


def test_it_has_the_published_number_of_parameters() -> None:
    assert sum(value.numel() for value in EfficientNetLite().parameters()) == 4_652_008


def test_the_graph_answers_as_torch_does(state: dict[str, torch.Tensor]) -> None:
    network = EfficientNetLite().eval()
    network.load_state_dict(state)
    pictures = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        right = network(pictures).numpy()
    assert right.std() > 0.01
    np.testing.assert_allclose(run(build(state, dtype=np.float32), pictures.numpy()), right, atol=1e-4)


def test_the_released_folder_opens_on_demand(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    folder = release(state, [f"class {index}" for index in range(1000)], tmp_path / NAME / "1.0.0")
    model = OnnxModel.open(folder, threads=1)
    assert not model.is_open()
    pictures = np.random.default_rng(0).random((1, 3, 224, 224), dtype=np.float32)
    found = model.run({"pictures": pictures})[0]
    assert model.is_open()
    plain = run(build(state, dtype=np.float32), pictures)
    assert np.abs(found - plain).max() < 0.05 * np.abs(plain).max(), "half precision of the weights"
    assert read_card(folder).parity.max_abs_difference < 1e-4


def test_a_wheel_or_file_with_another_hash_is_refused() -> None:
    wheel = zipped({"names.json": b"[]"})
    right = PinnedFile("names==1", hashlib.sha256(wheel).hexdigest(), "names.json", hashlib.sha256(b"[]").hexdigest())
    assert extract(wheel, right) == b"[]"
    with pytest.raises(WrongFile, match="names==1 has sha256"):
        extract(wheel + b"x", right)
    with pytest.raises(WrongFile, match=r"names\.json has sha256"):
        extract(wheel, PinnedFile(right.package, right.archive_sha256, right.path, "0" * 64))
