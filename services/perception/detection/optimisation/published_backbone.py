"""Weights of EfficientNet-Lite0 out of the released classifier of ImageNet's classes, for detectors trained in jobs.

Its graph has batch normalisation folded into convolutions. A frozen normalisation that changes nothing but adds the
bias makes the same function of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from services.optimisation.efficientnet_lite import EPSILON, EfficientNetLite

CLASSIFIER: Final = "imagenet-lite0"
_HALF: Final = "_half"
_NORMS: Final = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}
"""Which normalisation follows a convolution, beside it in the same module."""


def weights_of_classifier(content: bytes) -> dict[str, Tensor]:
    """The state of a whole EfficientNet-Lite0.

    Args:
        content: ONNX file of the classifier, stored in half precision.

    Raises:
        ValueError: it is not the graph that was released.
    """
    stored = {
        one.name.removesuffix(_HALF): torch.from_numpy(numpy_helper.to_array(one).astype(np.float32))
        for one in onnx.load_model_from_string(content).graph.initializer
    }
    state = EfficientNetLite().state_dict()
    try:
        for name in ("_fc.weight", "_fc.bias"):
            state[name] = stored[name].reshape(state[name].shape)
        for name in [one for one in state if one.rpartition(".")[0].rpartition(".")[2] in _NORMS]:
            convolution = name.removesuffix(".weight")
            state[name] = stored[name].reshape(state[name].shape)
            make_identity(state, _norm_of(convolution), stored[f"{convolution}.bias"])
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"this is not the graph of {CLASSIFIER}: {error}") from None
    return state


def make_identity(state: dict[str, Tensor], norm: str, bias: Tensor) -> None:
    """Let a normalisation add a bias and nothing else: of variance 1 - epsilon it divides by 1."""
    state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.ones_like(bias), bias
    state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = (
        torch.zeros_like(bias),
        torch.full_like(bias, 1 - EPSILON),
    )


def _norm_of(convolution: str) -> str:
    module, _, name = convolution.rpartition(".")
    return f"{module}.{_NORMS[name]}" if module else _NORMS[name]
