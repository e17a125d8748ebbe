"""Making the released folder: ONNX file, temperature, parity, latency and card."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.perception.classification.training.calibration import fit_temperature
from services.perception.classification.training.network import WIDTHS, ResNet18
from services.perception.classification.training.train import logits
from shared.datasets.traffic_sign_names import SIGNS
from shared.datasets.traffic_signs import Signs
from shared.runtime.cards import Baseline, ModelCard, Paper, Parity, Quality, TensorDescription, TrainingRecord, Weights
from shared.runtime.models.releases import MODEL_FILE, NOT_MEASURED, measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

NAME, VERSION, OPSET = "traffic-signs", "1.0.0", 18
MODELS = Path(__file__).parents[2] / "models"
"""Released models of the perception service."""

_DATA = (
    "GTSRB (Stallkamp et al. 2012) at 32x32: 17,610 pictures of nine tenths of the training tracks, every second frame "
    "only; the other tracks fitted the temperature"
)
_LIMITS = [
    "43 German signs, cut out of the photograph; it finds no signs and knows no 'none of these'.",
    "Pictures are scaled to 32x32: small print is lost.",
    "No adversarial training: it is meant to be attacked.",
    "One run (seed 0). GTSRB: free for research, terms not verified.",
]
_CHOICES = [
    "ResNet-18 with the stem for small pictures at half its width (32 to 256 channels, 2,806,091 parameters).",
    "Turns to 12 degrees, scale and shift, light and contrast; no flips, since mirrored signs are other signs.",
    "Only layers that sharing ratios are defined for: strided convolutions in place of inner pooling.",
]


def export(network: ResNet18, file: Path) -> None:
    """Write the network as ONNX, single precision, any batch size, batch normalisation folded."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = {0: "batch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.to(memory_format=torch.contiguous_format).eval(),  # type: ignore[call-overload]
            (torch.rand(2, 3, 32, 32),),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["pictures"],
            output_names=["logits"],
            dynamic_axes={"pictures": names, "logits": names},
        )


def release(network: ResNet18, record: dict[str, Any], validation: Signs, folder: Path | None = None) -> Path:
    """Export and card a network; quality that is known of the very same weights is kept.

    Args:
        network: in evaluation mode.
        record: how it came about, from `weights.load`.
        validation: pictures that were not trained on, for the temperature.
        folder: where to; that of the released model by default.
    """
    folder = folder or MODELS / NAME / VERSION
    file = folder / MODEL_FILE
    export(network, file)
    content = file.read_bytes()
    temperature = round(fit_temperature(logits(network, validation), validation.classes), 4)
    card = _card(record, weights_of(content), temperature)
    model = OnnxModel(card, content, threads=1)
    latency = measure_latency(model, {"pictures": np.zeros((1, 3, 32, 32), np.float32)}, what="one picture")
    measured = {"parity": _parity(network, model), "latency": latency}
    write_release(folder, content, card.model_copy(update=measured))
    return folder


def with_quality(card: ModelCard, evaluation: dict[str, Any]) -> ModelCard:
    """The card with what was measured."""
    dataset = "GTSRB, official test set, 12,630 pictures at 32x32"
    accuracy = {"metric": "accuracy", "dataset": dataset, "value": round(evaluation["accuracy"], 4), "unit": ""}
    low, high = (round(value, 4) for value in evaluation["interval"])
    baselines = {"always the commonest class": evaluation["commonest_class"], **evaluation["published"]}
    quality = [
        Quality(**accuracy, interval=(low, high), baseline=Baseline(name=name, value=round(value, 4)))
        for name, value in baselines.items()
    ]
    plain, scaled = (evaluation["calibration"][name] for name in ("plain", "scaled"))
    quality += [
        Quality(
            metric=metric.replace("_", " "),
            dataset=dataset,
            value=round(scaled[metric], 5),
            unit=unit,
            baseline=Baseline(name="without temperature", value=round(plain[metric], 5)),
        )
        for metric, unit in (("negative_log_likelihood", "nat"), ("expected_calibration_error", ""))
    ]
    return card.model_copy(update={"quality": quality})


def _card(record: dict[str, Any], weights: Weights, temperature: float) -> ModelCard:
    recipe = record["recipe"]
    procedure = (
        f"{recipe['epochs']} epochs of stochastic gradient descent, batches of {recipe['batch']}, Nesterov momentum "
        f"{recipe['momentum']}, learning rate {recipe['learning_rate']} falling along a cosine, weight decay "
        f"{recipe['weight_decay']}; accuracy on the validation tracks {record['validation_accuracy']:.2%}"
    )
    return ModelCard(
        name=NAME,
        version=VERSION,
        task="Classification of German traffic signs",
        paper=Paper(
            title="Deep Residual Learning for Image Recognition",
            authors="K. He, X. Zhang, S. Ren, J. Sun",
            url="https://arxiv.org/abs/1512.03385",
        ),
        licence="Apache-2.0 (these weights; the training data has terms of its own, see limits)",
        inputs=[
            _tensor("pictures", ["batch", 3, 32, 32], "RGB, 1 = white", "The whole picture scaled to 32x32", (0, 1))
        ],
        outputs=[_tensor("logits", ["batch", len(SIGNS)], "nat", "Of each class, before the temperature", None)],
        weights=weights,
        training=TrainingRecord(
            data=[_DATA],
            procedure=procedure,
            seed=recipe["seed"],
            machine=record["machine"],
            hours=record["hours"],
            command=record["command"],
        ),
        **NOT_MEASURED,
        limits=_LIMITS,
        choices=_CHOICES,
        parameters={"width": WIDTHS[recipe["width"]], "temperature": temperature, "classes": list(SIGNS)},
    )


def _tensor(
    name: str, shape: list[int | str], unit: str, description: str, limits: tuple[float, float] | None
) -> TensorDescription:
    return TensorDescription(name=name, dtype="float32", shape=shape, unit=unit, range=limits, description=description)


@torch.no_grad()
def _parity(network: ResNet18, model: OnnxModel) -> Parity:
    pictures = torch.from_numpy(np.random.default_rng(0).random((64, 3, 32, 32), dtype=np.float32))
    difference = np.abs(network(pictures).numpy() - model.run({"pictures": pictures.numpy()})[0]).max()
    return Parity(reference=f"torch {torch.__version__}, 64 random pictures", max_abs_difference=float(difference))
