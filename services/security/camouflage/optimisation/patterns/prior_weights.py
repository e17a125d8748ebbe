"""The diffusion model as a graph that any runtime computes, and back: one file for both."""

from __future__ import annotations

from typing import Final

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from services.security.camouflage.optimisation.patterns.diffusion import NoisePredictor

PRIOR: Final = "texture-diffusion"
"""Name of the released model."""
_HALF: Final = "_half"
"""Ending of the names of weights that are stored in half precision."""


def read_prior(content: bytes) -> NoisePredictor:
    """The network of a released file, in evaluation mode.

    Args:
        content: ONNX file of eps_theta.

    Raises:
        ValueError: it is not the graph that was released.
    """
    network = NoisePredictor()
    expected = network.state_dict()
    try:
        graph = onnx.load_model_from_string(content).graph
        stored = {one.name.removesuffix(_HALF): numpy_helper.to_array(one) for one in graph.initializer}
        # Of equal weights the exporter keeps one, under several names.
        equal = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
        stored |= {name: stored[other] for name, other in equal.items() if other in stored}
        state = {name: torch.from_numpy(stored[name].astype("float32")) for name in expected}
        network.load_state_dict(state)
    except (KeyError, RuntimeError, DecodeError) as error:
        raise ValueError(f"this is not the graph of the diffusion model: {error}") from None
    return network.eval()
