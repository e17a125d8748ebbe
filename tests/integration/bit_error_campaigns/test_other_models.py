"""Campaigns on models that are not ours: half-precision photographs, another library's export, a quantised graph."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import pytest_asyncio
import skl2onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from services.perception.classification.demo import stop_sign
from services.security.bit_error_campaigns.demo import labelled_shapes, shape_classifier
from shared.imaging.preprocessing import preprocessing_of
from shared.runtime.cards import read_card
from tests.support.archives import zipped
from tests.support.bit_error_campaigns import Bench
from tests.support.capability import png

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHOTOGRAPHS = Path(__file__).parents[3] / "services/perception/models/imagenet-lite0/1.0.0"
FORM = {"rates": "0.001,0.1", "seeds": "3", "analysis_seeds": "1", "analysis_rate": "0.1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attended(bench: Bench) -> AsyncIterator[Bench]:
    with bench.worker():
        await bench.until_attended()
        yield bench


async def run(bench: Bench, dataset: bytes, own: bytes | None = None, /, **form: str) -> dict[str, Any]:
    """Run to the report, all files of it written; the estimate must have said how much it is."""
    estimate = await bench.estimate(dataset, own, **{**FORM, **form})
    result = await bench.result(await bench.post(dataset, own, **{**FORM, **form}))
    report = bench.report(result)
    assert report["evaluations"] == estimate["evaluations"]
    assert report["memory"] == estimate["memory"]
    assert set(result["files"]) == {"report.json", "report.html", "curve.png", "layers.png", "bits.png"}
    return report


def named_by_a_plain_session(picture: bytes) -> str:
    """What the classifier of photographs calls a picture."""
    card = read_card(PHOTOGRAPHS)
    pixels = preprocessing_of(card.parameters).read(picture, height=224, width=224, pixel_limit=10**6, pointer="/")
    (scores,) = onnxruntime.InferenceSession(PHOTOGRAPHS / "model.onnx").run(None, {"pictures": pixels[None]})
    names: Any = card.parameters["classes"]
    return str(names[int(scores.argmax())])


async def test_the_classifier_of_photographs_whose_weights_are_stored_in_half_precision(attended: Bench) -> None:
    dataset = zipped({f"{named_by_a_plain_session(stop_sign())}/stop.png": stop_sign()})
    form = {"model": "imagenet-lite0", "rates": "0.01", "seeds": "1", "analyses": "curve,bits,layers"}
    report = await run(attended, dataset, **form)
    assert report["dataset"]["labels_by"] == "class names"
    assert report["as_given"]["accuracy"] == 1.0
    assert len(report["layers"]) == 50
    assert report["memory"]["weights"] > 4_000_000
    assert not report["memory"]["bytes_of_graph"]


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, labels = load_digits(return_X_y=True)
    return values, labels.astype(np.int64)


async def test_a_perceptron_that_scikit_learn_trained_and_skl2onnx_wrote(
    attended: Bench, digits: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> None:
    values, labels = digits
    network = MLPClassifier((32,), random_state=0, max_iter=60, tol=0.05, learning_rate_init=0.01)
    network.fit(values[:1200], labels[:1200])
    written = skl2onnx.to_onnx(
        network, values[:1].astype(np.float32), options={"zipmap": False}, target_opset=18
    ).SerializeToString()
    held_out = range(1400, 1520)
    grey = [np.rint(values[index].reshape(8, 8) * 255 / 16).astype(np.uint8) for index in held_out]
    dataset = zipped(
        {f"{labels[index]}/{index}.png": png(Image.fromarray(one)) for index, one in zip(held_out, grey, strict=True)}
    )
    report = await run(attended, dataset, written, parameters='{"size": [8, 8], "range": [0, 16]}')
    expected = network.score(np.stack(grey).reshape(-1, 64) * (16 / 255), labels[list(held_out)])
    assert report["as_given"]["accuracy"] == pytest.approx(expected, abs=1 / 120)
    assert expected > 0.9
    assert [one["weights"] for one in sorted(report["layers"], key=lambda one: -one["weights"])] == [64 * 32, 32 * 10]
    assert report["curve"][1]["accuracy"]["mean"] < report["curve"][0]["accuracy"]["mean"]


class _Shapes(CalibrationDataReader):  # type: ignore[misc]
    """Pictures that the ranges of activations are taken from."""

    def __init__(self) -> None:
        drawn = np.random.default_rng(0).random((16, 1, 16, 16), np.float32)
        self._batches = iter([{"pictures": drawn}])

    def get_next(self) -> Any:
        return next(self._batches, None)


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
async def test_a_graph_that_onnxruntime_quantised(
    attended: Bench, tmp_path: Path, form: QuantFormat, per_channel: bool
) -> None:
    source, target = tmp_path / "source.onnx", tmp_path / "quantised.onnx"
    onnx.save(onnx.load(io.BytesIO(shape_classifier())), source)
    quantize_static(
        source,
        target,
        _Shapes(),
        quant_format=form,
        per_channel=per_channel,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
    report = await run(attended, labelled_shapes(), target.read_bytes())
    assert report["memory"]["bytes_of_graph"]
    assert report["memory"]["layers"] == 2
    assert report["as_given"] == report["stored"], "its bytes are the memory"
    assert report["as_given"]["accuracy"] > 0.8
    assert report["bits"][0]["bit"] in {6, 7}
    assert report["curve"][1]["accuracy"]["mean"] < report["stored"]["accuracy"]
