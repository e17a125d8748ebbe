"""What campaigns refuse before any work, and what they say to do; estimates refuse it alike."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from services.security.bit_error_campaigns.demo import labelled_shapes, labelled_signs, shape_classifier
from tests.support.archives import zipped
from tests.support.bit_error_campaigns import Bench
from tests.support.capability import png
from tests.support.own_models import scale

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = png(Image.new("L", (16, 16), 90))
OWN, SHAPES = shape_classifier(), labelled_shapes()
DATASET, FILE = "/body/dataset", "/body/file"


def bomb() -> bytes:
    """Half a gigabyte of zeros in half a megabyte."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("0/zeros.png", "w", force_zip64=True) as entry,
    ):
        for _ in range(80):
            entry.write(bytes(1024 * 1024))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("dataset", "status", "says"),
    [
        (b"no archive", 415, "ZIP"),
        (SHAPES[: len(SHAPES) // 2], 422, "damaged"),
        (bomb(), 413, "inflates to more"),
        (zipped({}), 422, "holds no files"),
        (zipped({"a.png": PICTURE}), 422, "'a.png' has no label"),
        (zipped({"9/a.png": PICTURE}), 422, "The folder of '9/a.png' says class 9"),
        (zipped({"0/a.png": PICTURE, "0/notes.txt": b"hello"}), 422, "'0/notes.txt' is no picture"),
        (zipped({"cat/a.png": PICTURE, "dog/b.png": PICTURE}), 422, "2 folders with names"),
        (zipped({"a.png": PICTURE, "labels.csv": b"file,label\na.png,7\n"}), 422, "Row 2 of labels.csv says class 7"),
        (zipped({"a.png": PICTURE, "labels.csv": b"b.png,1\n"}), 422, "Row 1 of labels.csv names 'b.png'"),
        (zipped({"a.png": PICTURE, "labels.csv": b"a.png\n"}), 422, "Row 1 of labels.csv is not of the form"),
        (zipped({"a.png": PICTURE, "labels.csv": b"a.png,1\na.png,2\n"}), 422, "names 'a.png' a second time"),
        (zipped({"a.png": PICTURE, "labels.csv": b"file,label\n"}), 422, "no row for the picture 'a.png'"),
        (zipped({"a.png": PICTURE, "labels.csv": b"a.png,\xff\n"}), 422, "not UTF-8"),
        (zipped({"labels.csv": b"a.png,1\n"}), 422, "holds no pictures"),
    ],
)  # fmt: skip
async def test_a_data_set_that_is_none_is_refused_by_file_or_row(
    bench: Bench, dataset: bytes, status: int, says: str
) -> None:
    found = await bench.refused(dataset, OWN)
    assert found[:2] == (status, DATASET)
    assert says in found[2]


async def test_a_class_that_is_spelt_wrong_is_named_with_the_right_one(bench: Bench) -> None:
    found = await bench.refused(zipped({"Stopp/a.png": PICTURE}), model="traffic-signs")
    assert found[:2] == (422, DATASET)
    assert "Is 'Stop" in found[2] or "Is 'stop" in found[2]


def graph(
    nodes: list[onnx.NodeProto],
    tensors: dict[str, Any],
    *,
    inputs: dict[str, list[Any]] | None = None,
    outputs: dict[str, list[Any]] | None = None,
) -> bytes:
    made = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (inputs or {"x": ["batch", 16]}).items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (outputs or {"y": ["batch", 4]}).items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


WEIGHT = np.ones((16, 4), np.float32)
NOT_A_NUMBER = np.where(np.eye(16, 4, dtype=bool), np.nan, WEIGHT).astype(np.float32)
PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (b"PK\x03\x04 no model", "a ZIP archive"),
        (scale(2.0, external=True), "Weights must be inside the file"),
        (scale(2.0), "no convolution and no matrix product"),
        (graph([PRODUCT], {"w": NOT_A_NUMBER}), "weights of product hold NaN"),
        (
            graph([helper.make_node("MatMul", ["x", "z"], ["y"])], {}, inputs={"x": ["b", 4], "z": [4, 4]}),
            "no convolution and no matrix product",
        ),
        (
            graph(
                [PRODUCT, helper.make_node("Add", ["y", "more"], ["sum"])],
                {"w": WEIGHT},
                inputs={"x": ["b", 16], "more": ["b", 4]},
                outputs={"sum": ["b", 4]},
            ),
            "2 inputs (x, more)",
        ),
        (
            graph([PRODUCT, helper.make_node("ReduceMean", ["y"], ["m"], axes=[1])], {"w": WEIGHT},
                  outputs={"m": ["b", 1]}),
            "none of its outputs holds scores of classes",
        ),
        (graph([PRODUCT], {"w": np.ones((17, 4), np.float32)}, inputs={"x": ["b", 17]}), "rows of 17 numbers"),
        (
            graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": np.ones((4, 5, 1, 1), np.float32)},
                  inputs={"x": ["b", 5, 8, 8]}, outputs={"y": ["b", 4, 8, 8]}),
            "[b, 5, 8, 8]",
        ),
        (
            graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": np.ones((4, 3, 1, 1), np.float32)},
                  inputs={"x": ["b", 3, "h", "w_"]}, outputs={"y": ["b", 4, "h", "w_"]}),
            "state `size` in its parameters",
        ),
        (graph([PRODUCT], {"w": np.ones((9, 4), np.float32)}), "cannot be opened"),
    ],
)  # fmt: skip
async def test_a_model_that_no_campaign_can_be_run_on_is_refused(bench: Bench, model: bytes, says: str) -> None:
    found = await bench.refused(zipped({"0/a.png": PICTURE}), model)
    assert found[:2] == (422, FILE)
    assert says in found[2]


@pytest.mark.parametrize(
    ("form", "pointer", "says"),
    [
        ({"rates": "0.1,2"}, "/body/rates", "a share of cells"),
        ({"rates": "0.1;0.2"}, "/body/rates", "with commas"),
        ({"rates": "nan"}, "/body/rates", "a share of cells"),
        ({"seeds": "50000"}, "/body/seeds", "50000-50000"),
        ({"seeds": "9-5"}, "/body/seeds", "no range"),
        ({"seeds": "0-5000"}, "/body/seeds", "more than 1000"),
        ({"seeds": "some"}, "/body/seeds", "Give a number of seeds"),
        ({"analyses": "curve,bit"}, "/body/analyses", "'bit' is no analysis"),
        ({"analysis_rate": "0"}, "/body/analysis_rate", "greater than 0"),
        ({"parameters": "{size"}, "/body/parameters", "not JSON"),
        ({"parameters": '{"sizes": [1, 2]}'}, "/body/parameters/sizes", "how a classifier takes pictures"),
        ({"parameters": '{"classes": ["a", "b"]}'}, "/body/parameters/classes", "2 names for 4 classes"),
        ({"parameters": '{"mean": [0, 0]}'}, "/body/file", "2 numbers for 1 channels"),
        ({"version": "1.0.0"}, "/body/version", "no versions"),
        ({"model": "traffic-signs"}, "/body/model", "or post a `file`"),
    ],
)
async def test_options_that_do_not_fit_are_named(bench: Bench, form: dict[str, str], pointer: str, says: str) -> None:
    answer = await bench.refused(SHAPES, OWN, **form)
    assert answer[:2] == (422, pointer), answer
    problem = await bench.send("/v1/security/bit-error-campaigns", SHAPES, OWN, **form)
    assert says in problem.text


async def test_a_model_that_is_not_there_is_404(bench: Bench) -> None:
    answer = await bench.send("/v1/security/bit-error-campaigns", SHAPES, model="nobody")
    assert answer.status_code == 404


async def test_parameters_of_a_model_of_the_fleet_are_those_of_its_card(bench: Bench) -> None:
    found = await bench.refused(labelled_signs(), model="traffic-signs", parameters="{}")
    assert found[:2] == (422, "/body/parameters")


async def test_a_campaign_beyond_the_limits_is_refused_with_what_to_lower(bench: Bench) -> None:
    signs = zipped({f"14/{number}.png": PICTURE for number in range(300)})
    form = {"seeds": "1000", "rates": ",".join(str(rate / 1000) for rate in range(1, 20)), "model": "traffic-signs"}
    estimate = await bench.estimate(signs, **form)
    assert estimate["networks"] == 2 + 19_000 + 3 * 21 + 3 * 8
    assert estimate["evaluations"] == 300 * estimate["networks"] > estimate["evaluations_limit"]
    assert not estimate["accepted"]
    refused = await bench.send("/v1/security/bit-error-campaigns", signs, **form)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == DATASET
    assert "fewer rates or seeds" in refused.json()["detail"] == estimate["advice"]
    lower = await bench.estimate(signs, **form, images="5")
    assert lower["evaluations"] == 5 * estimate["networks"]


async def test_too_many_networks_are_refused_whatever_they_see(bench: Bench) -> None:
    form = {"seeds": "1000", "rates": ",".join(str(rate / 1000) for rate in range(1, 40)), "images": "1"}
    answer = await bench.send("/v1/security/bit-error-campaigns", SHAPES, OWN, **form)
    assert answer.status_code == 422
    assert "at most 20,000 networks" in answer.json()["detail"]
