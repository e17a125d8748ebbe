"""A captioner as two ONNX graphs: one reads pictures, the other writes a word.

Encoder: `pictures` float32 (batch, 3, 224, 224) in [0, 1] -> contexts and first states, by the names that the decoder
gives them. Step: `words` int64 (batch,), contexts, states -> `log_probabilities` (batch, vocabulary), `attention`
(batch, places), and each state as `next_<name>`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import onnx
import torch
from torch import Tensor, nn

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.roles import ATTENTION, LOG_PROBABILITIES, NEXT, WORDS
from services.perception.captioning.training.decoders import Decoder, Tensors
from services.perception.captioning.training.features import CUT, SIDE
from services.perception.captioning.training.networks import Captioner

OPSET: Final = 18
PICTURES: Final = "pictures"
ANSWERS: Final = (LOG_PROBABILITIES, ATTENTION)
PAST: Final = "past"
"""Name of the axis of growing states: how many words there are so far."""


class CaptionEncoder(nn.Module):
    """Pictures to contexts and first states.

    Args:
        captioner: trained.
        backbone: that its features come from; a captioner's own tail replaces its last stages.
    """

    def __init__(self, captioner: Captioner, backbone: EfficientNetLite) -> None:
        super().__init__()
        self.trunk, tail = backbone.split(CUT)
        self.tail = tail if captioner.tail is None else captioner.tail
        self.grid, self.decoder = captioner.grid, captioner.decoder

    def forward(self, pictures: Tensor) -> Tensors:
        """Contexts, then states; of pictures (batch, 3, height, width) in [0, 1]."""
        fine = self.trunk(pictures)
        contexts, states = self.decoder.begin(self.grid(fine, self.tail(fine)))
        return (*contexts, *states)


class CaptionStep(nn.Module):
    """One word, with flat inputs and outputs."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, words: Tensor, *tensors: Tensor) -> Tensors:
        """Log-probabilities, attention, states; of words, contexts and states."""
        count = len(self.decoder.CONTEXTS)
        logits, attention, states = self.decoder.step(words, tensors[:count], tensors[count:])
        return (torch.log_softmax(logits, dim=1), attention, *states)


@torch.no_grad()
def export_encoder(captioner: Captioner, backbone: EfficientNetLite, *, side: int = SIDE) -> bytes:
    """The encoder's graph."""
    names = (*captioner.decoder.CONTEXTS, *captioner.decoder.STATES)
    module = CaptionEncoder(captioner, backbone).eval()
    growing = dict.fromkeys(captioner.decoder.GROWING, PAST)
    return export_graph(module, (torch.rand(2, 3, side, side),), [PICTURES], names, growing)


@torch.no_grad()
def export_step(captioner: Captioner, places: int) -> bytes:
    """The graph of one step.

    Args:
        captioner: trained.
        places: of a picture.
    """
    decoder = captioner.decoder.eval()
    contexts, states = decoder.begin(torch.rand(2, places, captioner.grid.norm.normalized_shape[0]))
    _, _, states = decoder.step(torch.ones(2, dtype=torch.int64), contexts, states)  # so that none is empty
    names = [WORDS, *decoder.CONTEXTS, *decoder.STATES]
    outputs = [*ANSWERS, *(NEXT + name for name in decoder.STATES)]
    growing = dict.fromkeys(decoder.GROWING, PAST) | {NEXT + name: "known" for name in decoder.GROWING}
    inputs = (torch.ones(2, dtype=torch.int64), *contexts, *states)
    return export_graph(CaptionStep(decoder).eval(), inputs, names, outputs, growing)


def _fix_outputs(model: Any, examples: Tensors, axes: Mapping[str, Mapping[int, str]]) -> None:
    """State the sizes of outputs, of which the exporter gives some up, as those of examples; open axes keep names."""
    for value, example in zip(model.graph.output, examples, strict=True):
        for index, (side, size) in enumerate(zip(value.type.tensor_type.shape.dim, example.shape, strict=True)):
            if index in axes[value.name]:
                side.dim_param = axes[value.name][index]
            else:
                side.dim_value = size


def _let_pads_be_fused(model: Any) -> None:
    """Drop the empty names of inputs that are left out: with one, onnxruntime pads by an operator of its own."""
    for node in model.graph.node:
        while node.op_type == "Pad" and not node.input[-1]:
            node.input.pop()


def export_graph(
    module: nn.Module, inputs: Tensors, names: Sequence[str], outputs: Sequence[str], growing: Mapping[str, str]
) -> bytes:
    """ONNX of a module whose tensors all have the batch as their first axis.

    Args:
        module: in evaluation mode.
        inputs: to trace it with, two rows.
        names: of the inputs.
        outputs: their names.
        growing: name of the third axis of those whose size changes.
    """
    axes: dict[str, dict[int, str]] = {name: {0: "batch"} for name in (*names, *outputs)}
    for name, axis in growing.items():
        axes[name][2] = axis
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes=axes,
        )
        model: Any = onnx.load(file)
        _fix_outputs(model, module(*inputs), axes)
        _let_pads_be_fused(model)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
