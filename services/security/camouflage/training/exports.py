"""The diffusion model as an ONNX file whose weights keep their names, stored in half precision."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch

from services.security.camouflage.optimisation.patterns.diffusion import SIDE, NoisePredictor
from services.training.half_precision import halve_weights

OPSET: Final = 18
INPUTS: Final = ("pictures", "steps")
OUTPUT: Final = "noise"


def export_prior(network: NoisePredictor) -> bytes:
    """A graph `pictures`, `steps` -> `noise` for any number of pictures of 64 x 64."""
    axes = {name: {0: "batch"} for name in (*INPUTS, OUTPUT)}
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.to(memory_format=torch.contiguous_format).eval(),  # type: ignore[call-overload]
            (torch.zeros(2, 3, SIDE, SIDE), torch.tensor([0, 1])),
            str(file),
            dynamo=False,
            do_constant_folding=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=axes,
        )
        return halve_weights(file.read_bytes())
