"""Small networks and drawn films: what the tests of training share."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from services.medical.chest_xray.training.data.manifest import FOLDER
from services.medical.chest_xray.training.data.preparation import Placement
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.networks.options import NetworkOptions

COLUMNS = (
    "file", "label", "patient_id", "age", "sex", "view", "nih_labels", "rsna_id", "rsna_class",
    "rsna_boxes_xywh_512", "nih_boxes_label_xywh_512", "split",
)  # fmt: skip

SMALL = NetworkOptions(
    growth=4, blocks=(1, 1, 1, 1), initial=8, filters=4, hidden=8, size=(64, 64), opacity=True,
)  # fmt: skip


def draw_chest(
    shape: tuple[int, int], random: np.random.Generator, *, opaque: bool = False
) -> tuple[NDArray[np.float32], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """A drawn chest, bones white, and its two lungs; a wide bright patch in the left of the picture if opaque."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    down, across = rows / shape[0], columns / shape[1]
    film = np.where((np.abs(across - 0.5) < 0.46) & (down > 0.05), 0.65, 0.05).astype(np.float32)
    film[np.abs(across - 0.5) < 0.06] = 0.9
    lungs = tuple(((down - 0.47) / 0.3) ** 2 + ((across - middle) / 0.14) ** 2 < 1 for middle in (0.3, 0.7))
    for lung in lungs:
        film[lung] = 0.2 + 0.08 * (np.sin(down * 60) > 0.6)[lung]
    if opaque:
        film[((down - 0.6) / 0.12) ** 2 + ((across - 0.3) / 0.1) ** 2 < 1] = 0.6
    film += random.normal(0, 0.01, shape).astype(np.float32)
    return np.clip(film, 0, 1), (lungs[0], lungs[1])


def whole(shape: tuple[int, int]) -> Placement:
    """A film that fills the grid."""
    return Placement(0, 0, *shape)


def make_network(options: NetworkOptions = SMALL, seed: int = 0) -> ChestXrayNetwork:
    """An untrained network with running statistics and affine parts that are not those of a new one."""
    torch.manual_seed(seed)
    network = ChestXrayNetwork(options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.7, 1.3)  # type: ignore[union-attr]
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
    return network.eval()


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets with 36 drawn films of as many patients, a third of each class, in all three splits."""
    data = tmp_path_factory.mktemp("data")
    (data / FOLDER / "images").mkdir(parents=True)
    rows = []
    for index in range(36):
        random, kind = np.random.default_rng(index), index % 3
        film, _ = draw_chest((128, 128), random, opaque=kind == 2)
        Image.fromarray((film * 255).astype(np.uint8)).save(data / FOLDER / "images" / f"{index}.png")
        tags = ("No Finding", "Edema|Pneumonia", "Pneumonia")[kind]
        row = [f"{index}.png", "No_findings" if kind == 0 else "Pneumonia", str(index), "50", "F", "PA", tags]
        row += ["x", ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")[kind]]
        row += ["102,246,102,122" if kind == 2 else "", "", ("train", "train", "val", "test")[index // 3 % 4]]
        rows.append(row)
    with (data / FOLDER / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return data
