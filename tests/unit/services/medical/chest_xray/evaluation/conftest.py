"""Films drawn by code in the form of the data set, and a small model in the form of the role."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from services.medical.chest_xray.evaluation.film_set import SIZE, FilmSet

COLUMNS = (
    "file", "label", "patient_id", "age", "sex", "view", "nih_labels", "rsna_id", "rsna_class",
    "rsna_boxes_xywh_512", "nih_boxes_label_xywh_512", "split",
)  # fmt: skip
PATIENTS = 30
FILMS_OF_A_PATIENT = 2


def draw_film(random: np.random.Generator, *, opacity: bool) -> NDArray[np.uint8]:
    """Two dark fields on grey; a bright spot in one of them where there is an opacity."""
    rows, columns = np.mgrid[:64, :64]
    film = 150 + 10 * random.standard_normal((64, 64))
    for centre in (20, 44):
        film[((rows - 32) / 22) ** 2 + ((columns - centre) / 9) ** 2 < 1] -= 90
    if opacity:
        film[38:48, 14:24] += 160
    return np.clip(film, 0, 255).astype(np.uint8)


def write_films(data: Path) -> None:
    """A manifest with all classes, views and splits, and its films."""
    folder = data / "chest-xray"
    (folder / "images").mkdir(parents=True)
    random, rows = np.random.default_rng(5), []
    for patient in range(PATIENTS):
        label = patient % 3
        for number in range(FILMS_OF_A_PATIENT):
            opacity, file = label > 0, f"{patient:03d}_{number}.jpg"
            Image.fromarray(draw_film(random, opacity=opacity)).save(folder / "images" / file, quality=95)
            known = {0: "Normal", 1: "", 2: "Lung Opacity"}[label] if number == 0 else ""
            rows.append(
                {
                    "file": file,
                    "label": "No_findings" if label == 0 else "Pneumonia",
                    "patient_id": patient,
                    "age": 30 + patient,
                    "sex": "MF"[number],
                    "view": ("AP", "PA")[(patient // 3 + number) % 2],
                    "nih_labels": ("No Finding", "Edema|Pneumonia", "Pneumonia")[label],
                    "rsna_class": known,
                    "rsna_boxes_xywh_512": "112,304,80,80" if known == "Lung Opacity" else "",
                    "nih_boxes_label_xywh_512": "Effusion,112.0,304.0,80.0,80.0" if label == 1 else "",
                    "split": ("train", "train", "train", "val", "test")[patient // 6],
                }
            )
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as content:
        writer = csv.DictWriter(content, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def model_of_the_role(weight: float = 8.0) -> onnx.ModelProto:
    """A model that looks at one spot: its brightness is the opacity, and attention lies where the film is bright."""
    height, width = SIZE
    spot = np.zeros((height * width, 1), np.float32)
    # Where `draw_film` draws the opacity: square films lie between rows 32 and 288.
    mask = np.zeros(SIZE, np.float32)
    mask[32 + 38 * 4 : 32 + 48 * 4, 14 * 4 : 24 * 4] = 1
    spot[:, 0] = mask.ravel() / mask.sum()
    classes = np.array([[-weight, 0.5 * weight, weight]], np.float32)
    constants = {
        "spot": spot,
        "classes": classes,
        "weight": np.array(weight, np.float32),
        "half": np.array(0.5, np.float32),
        "sharp": np.array(20, np.float32),
        "map_shape": np.array([0, *SIZE]),
        "three": np.array([1, 3, 1, 1]),
        "last": np.array([-1]),
        "ones": np.ones((1, 3, 1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Flatten", ["film"], ["flat"]),
        helper.make_node("MatMul", ["flat", "spot"], ["brightness"]),
        helper.make_node("Sub", ["brightness", "half"], ["centred"]),
        helper.make_node("MatMul", ["centred", "classes"], ["logits"]),
        helper.make_node("Mul", ["centred", "weight"], ["scaled"]),
        helper.make_node("Squeeze", ["scaled", "last"], ["opacity"]),
        helper.make_node("Mul", ["flat", "sharp"], ["sharpened"]),
        helper.make_node("Softmax", ["sharpened"], ["probable"], axis=1),
        helper.make_node("Reshape", ["probable", "map_shape"], ["attention"]),
        helper.make_node("AveragePool", ["film"], ["coarse"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Mul", ["coarse", "ones"], ["evidence"]),
    ]
    shapes: dict[str, list[Any]] = {
        "logits": ["n", 3],
        "opacity": ["n"],
        "attention": ["n", *SIZE],
        "evidence": ["n", 3, 10, 8],
    }
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("film", TensorProto.FLOAT, ["n", 1, *SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all data sets, with drawn films alone."""
    folder = tmp_path_factory.mktemp("data")
    write_films(folder)
    return folder


@pytest.fixture(scope="session")
def films(data: Path) -> FilmSet:
    """The drawn films."""
    return FilmSet.of_folder(data)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the role."""
    file = tmp_path_factory.mktemp("models") / "toy.onnx"
    onnx.save_model(model_of_the_role(), file)
    return file
