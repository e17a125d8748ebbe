"""From a trained network to an ONNX file with padding inside the graph, checked against torch, and its card."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.medical.low_dose_ct.training.inference import network_denoiser, released_denoiser
from services.medical.low_dose_ct.training.network import AnySize, DRUNet
from shared.runtime.cards import Latency, Parity, TensorDescription

OPSET = 18
PARITY_SIZES = ((362, 362), (361, 363), (17, 40), (512, 512))
MODELS = Path(__file__).parents[2] / "models"
"""The folder of released models of the medical service."""


def export_network(network: DRUNet, file: Path) -> None:
    """Write a network as ONNX, single precision, any batch size, height and width, weights inside the file.

    The tracing exporter is used since its graph carries no torch-specific metadata and its outputs keep plain
    symbolic sizes.
    """
    image, level = torch.rand(2, 1, 41, 51), torch.rand(2)
    sizes = {0: "batch", 2: "height", 3: "width"}
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            AnySize(network.cpu().to(memory_format=torch.contiguous_format)).eval(),  # type: ignore[call-overload]
            (image, level),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image", "noise_level"],
            output_names=["clean"],
            dynamic_axes={"image": sizes, "noise_level": {0: "batch"}, "clean": sizes},
        )


def measure_parity(network: DRUNet, file: Path, sizes: Sequence[tuple[int, int]] = PARITY_SIZES) -> Parity:
    """Largest difference between torch and onnxruntime on random images in [0, 1] of several sizes."""
    ours, theirs = released_denoiser(file), network_denoiser(network)
    random = np.random.default_rng(0)
    images = [random.random(size, dtype=np.float32) for size in sizes]
    worst = max(float(np.abs(ours(image, 0.1) - theirs(image, 0.1)).max()) for image in images)
    shown = ", ".join(f"{height}x{width}" for height, width in sizes)
    return Parity(reference=f"torch {torch.__version__}, random images of {shown}", max_abs_difference=worst)


def measure_latency(file: Path, *, threads: int = 2, repeats: int = 10) -> Latency:
    """Shortest time (others work on the machine) of one 362 x 362 slice in onnxruntime on this machine."""
    denoise = released_denoiser(file, threads=threads)
    image = np.random.default_rng(0).random((362, 362), dtype=np.float32)
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        denoise(image, 0.1)
        times.append(time.perf_counter() - began)
    value = min(times[1:]) * 1000
    machine = f"{platform.machine()} CPU, shared with other work; shortest of {repeats} passes"
    return Latency(
        what="one slice of 362 x 362, onnxruntime", value_ms=round(value, 1), machine=machine, threads=threads
    )


def tensor(name: str, shape: list[int | str], unit: str, description: str, high: float = 1.0) -> TensorDescription:
    """Describe a float32 input or output with nominal values from 0 to `high`."""
    return TensorDescription(
        name=name, dtype="float32", shape=shape, unit=unit, range=(0.0, high), description=description
    )


def image_tensors(unit: str, what: str, *, level: str) -> dict[str, Any]:
    """Inputs and outputs that all denoisers of this family have."""
    size: list[int | str] = ["batch", 1, "height", "width"]
    return {
        "inputs": [
            tensor("image", size, unit, f"{what}; values outside the range are allowed, no clipping"),
            tensor("noise_level", ["batch"], unit, level, high=50 / 255),
        ],
        "outputs": [tensor("clean", size, unit, "The denoised image, not clipped, same size as the input")],
    }
