"""Denoisers as plain functions on numpy images, for evaluation: torch networks and released ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from services.medical.low_dose_ct.training.network import AnySize, DRUNet

Image = NDArray[np.float32]
Denoise = Callable[[Image, float], Image]
"""Takes an image (height, width) and the noise level told to the network; returns the clean image."""


def network_denoiser(network: DRUNet) -> Denoise:
    """A torch network as a function on numpy images, on whatever device it lies."""
    wrapped = AnySize(network).eval()
    device = next(network.parameters()).device

    def denoise(image: Image, level: float) -> Image:
        batch = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None].to(device)
        with torch.inference_mode():
            clean = wrapped(batch.contiguous(memory_format=torch.channels_last), torch.tensor([level], device=device))
        answer: Image = clean[0, 0].cpu().numpy()
        return answer

    return denoise


def released_denoiser(file: Path, *, threads: int = 2) -> Denoise:
    """A released ONNX file as a function on numpy images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def denoise(image: Image, level: float) -> Image:
        inputs = {"image": image[None, None].astype(np.float32), "noise_level": np.array([level], dtype=np.float32)}
        answer: Image = session.run(["clean"], inputs)[0][0, 0]
        return answer

    return denoise
