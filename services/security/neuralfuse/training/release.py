"""Released folders of base classifiers and generators: file, parity, latency and card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from services.security.neuralfuse.training.exports import export_base, export_fuse
from services.security.neuralfuse.training.generators import Fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from services.security.neuralfuse.training.runs import Record
from shared.datasets.traffic_sign_names import SIGNS
from shared.runtime.cards import (
    ModelCard,
    Paper,
    Parity,
    RuntimeOptions,
    TensorDescription,
    TrainingRecord,
    Weights,
    read_card,
)
from shared.runtime.models.releases import MODEL_FILE, NOT_MEASURED, measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

VERSION: Final = "1.0.0"
MODELS: Final = Path(__file__).parents[2] / "models"
"""Released models of the security service."""

COMMAND: Final = "python -m services.security.neuralfuse.training"

PARAMETER: Final = "neuralfuse"
"""Of a card: which part it plays, and with what."""

_PAPER: Final = Paper(
    title="NeuralFuse: Learning to Recover the Accuracy of Access-Limited Neural Network Inference in Low-Voltage "
    "Regimes",
    authors="H.-L. Sun, L. Hsiung, N. Chandramoorthy, P.-Y. Chen, T.-Y. Ho",
    url="https://arxiv.org/abs/2306.16869",
)
_LICENCE: Final = "Apache-2.0 (these weights; the training data has terms of its own, see limits)"
_DATA: Final = (
    "GTSRB (Stallkamp et al. 2012) at 32x32: nine tenths of the training tracks, every second frame only (17,610 "
    "pictures); the paper trains on every frame"
)
_DATA_LIMIT: Final = "One run (seed 0). GTSRB: free for research, terms not verified."


_BASE_LIMITS: Final[Mapping[str, str]] = {
    "vgg11": "It bears more bit errors than the paper's classifiers do (see quality), by another recipe.",
    "resnet18-half": "Half of ResNet-18's channels. Bit errors cost it far more than VGG-11 (see quality), and the "
    "generators, which never saw it, help it little.",
}


def base_name(network: str) -> str:
    """Of the released classifier of a key of `BASE_NETWORKS`."""
    return f"signs-{network}-int8"


def generator_name(generator: str, network: str) -> str:
    """Of the released F of a key of `GENERATORS` for a classifier."""
    return f"neuralfuse-{generator.lower()}-{network}"


def release_folder(name: str, models: Path = MODELS) -> Path:
    """Where a released model lies."""
    return models / name / VERSION


def release_base(base: PerturbedNetwork, record: Record, models: Path = MODELS) -> Path:
    """Export and card a classifier.

    Args:
        base: out of its finished run.
        record: of that run.
        models: folder of released models.
    """
    network = str(record.recipe["network"])
    content = export_base(base)
    card = _base_card(network, record, weights_of(content))
    model = OnnxModel(card, content, threads=1)
    parity = _parity(base.restore(), model)
    return _write(content, card, model, parity, models)


def release_generator(fuse: Fuse, record: Record, models: Path = MODELS) -> Path:
    """Export and card F; the classifier that it was trained for is released already."""
    content = export_fuse(fuse)
    base = read_card(release_folder(base_name(str(record.recipe["base"])), models))
    card = _generator_card(base, record, weights_of(content))
    model = OnnxModel(card, content, threads=1)
    return _write(content, card, model, _parity(fuse, model, unit=True), models)


def _write(content: bytes, card: ModelCard, model: OnnxModel, parity: Parity, models: Path) -> Path:
    latency = measure_latency(model, {"pictures": np.zeros((1, 3, 32, 32), np.float32)}, what="one picture of 32x32")
    folder = release_folder(card.name, models)
    write_release(folder, content, card.model_copy(update={"parity": parity, "latency": latency}))
    return folder


@torch.no_grad()
def _parity(network: torch.nn.Module, model: OnnxModel, *, unit: bool = False) -> Parity:
    """Of a network in [-1, 1] and its graph in [0, 1]."""
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    pictures = np.random.default_rng(0).random((64, 3, 32, 32), dtype=np.float32)
    expected = network(torch.from_numpy(pictures) * 2 - 1).numpy()
    difference = np.abs((expected * 0.5 + 0.5 if unit else expected) - model.run({"pictures": pictures})[0]).max()
    reference = f"torch {torch.__version__} with rounded weights, 64 random pictures"
    return Parity(reference=reference, max_abs_difference=float(difference))


def _base_card(network: str, record: Record, weights: Weights) -> ModelCard:
    recipe = record.recipe
    return ModelCard(
        name=base_name(network),
        version=VERSION,
        task="Classification of German traffic signs by a network whose weights are stored in 8 bits",
        paper=_PAPER,
        licence=_LICENCE,
        inputs=[_pictures("pictures", "The whole picture scaled to 32x32", [32, 32])],
        outputs=[
            TensorDescription(
                name="logits", dtype="float32", shape=["batch", len(SIGNS)], unit="nat", description="Of each class"
            )
        ],
        weights=weights,
        training=_training(
            record,
            f"Quantisation-aware, without bit errors: {recipe['epochs']} epochs of stochastic gradient descent, "
            f"batches of {recipe['batch']}, Nesterov momentum {recipe['momentum']}, learning rate "
            f"{recipe['learning_rate']} falling along a cosine, weight decay {recipe['weight_decay']}; validation "
            f"tracks: {record.validation[0]:.2%} right",
        ),
        **NOT_MEASURED,
        limits=[
            "43 German signs, cut out of the photograph; it finds no signs and knows no 'none of these'.",
            *(text for name, text in _BASE_LIMITS.items() if name == network),
            _DATA_LIMIT,
        ],
        choices=[
            (
                "Weights of all convolutions and of the head: one scale for each tensor, -127 to 127, rounded; "
                "biases and activations in single precision. Batch normalisation is folded into a scale per channel."
            ),
            "Recipe: a cosine over few epochs with weight decay, where the paper has 300 epochs at a rate of 0.001.",
            "Crops out of a border of 4 pixels, light and contrast; no mirroring, which the released code has.",
        ],
        runtime=RuntimeOptions(on_demand=True),
        parameters={"classes": list(SIGNS), PARAMETER: {"role": "base", "network": network}},
    )


def _generator_card(base: ModelCard, record: Record, weights: Weights) -> ModelCard:
    recipe = record.recipe
    architecture = str(recipe["generator"])
    return ModelCard(
        name=generator_name(architecture, str(recipe["base"])),
        version=VERSION,
        task=f"Makes pictures ready for {base.name} at low voltage ({architecture})",
        paper=_PAPER,
        licence=_LICENCE,
        inputs=[_pictures("pictures", "As the classifier wants them", ["height", "width"])],
        outputs=[_pictures("transformed", "What the classifier gets in their place", ["height", "width"])],
        weights=weights,
        training=_training(
            record,
            f"Expectation over perturbed models for {base.name}: {_generator_procedure(record)}; "
            f"validation tracks: {record.validation[0]:.2%} right at nominal "
            f"voltage, {np.mean(record.validation[1:]):.2%} on three chips at low voltage",
        ),
        **NOT_MEASURED,
        limits=[
            "What comes out is made for a network, not for eyes; of no use to other models unless that was measured.",
            "Sides of a picture are multiples of 8. Trained on 32x32.",
            "At nominal voltage the classifier is used with it too, as in the paper; accuracy there is measured apart.",
            _DATA_LIMIT,
        ],
        choices=[
            "A bit error rate of 1 % means 1 % of cells stuck at 0 or 1: half of them flip a bit.",
            "The map of faults is the released code's, repeated in every tensor (tiled).",
            f"N = {recipe['perturbed']} with more steps in place of N = 10; few epochs where the paper has 150.",
            "Its own weights are rounded to 8 bits and have no errors: it runs at nominal voltage.",
        ],
        runtime=RuntimeOptions(on_demand=True),
        parameters={
            PARAMETER: {
                "role": "generator",
                "architecture": architecture,
                "base": base.name,
                "base_sha256": base.weights.sha256,
                "bit_error_rate": recipe["bit_error_rate"],
                "weight": recipe["weight"],
                "faults": {"kind": "stuck_at", "layout": "tiled"},
            }
        },
    )


def _generator_procedure(record: Record) -> str:
    recipe = record.recipe
    own = (
        f"{recipe['epochs']} epochs of Adam, batches of {recipe['batch']}, learning rate {recipe['learning_rate']} "
        f"falling along a cosine, {recipe['perturbed']} perturbed model(s) for each batch at a bit error rate of "
        f"{recipe['bit_error_rate']:.2%} (stuck-at cells, tiled), lambda {recipe['weight']}"
    )
    return f"{_generator_procedure(record.before)}; then {own}" if record.before else own


def _training(record: Record, procedure: str) -> TrainingRecord:
    return TrainingRecord(
        data=[_DATA],
        procedure=procedure,
        seed=int(record.recipe["seed"]),
        machine=record.machine,
        hours=record.hours,
        command=record.command,
    )


def _pictures(name: str, description: str, sides: list[Any]) -> TensorDescription:
    return TensorDescription(
        name=name,
        dtype="float32",
        shape=["batch", 3, *sides],
        unit="RGB, 1 = white",
        range=(0, 1),
        description=description,
    )


def released_file(name: str, models: Path = MODELS) -> Path:
    """The ONNX file of a released model."""
    return release_folder(name, models) / MODEL_FILE
