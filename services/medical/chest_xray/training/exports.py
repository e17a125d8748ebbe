"""A trained network as one ONNX graph, and how closely the graph follows it.

Inputs and outputs are those of `roles`. Diagnosis is calibrated in the graph. Evidence is Grad-CAM (Selvaraju et al.
2017) before its rectifier, in closed form: features of the last map are averaged before they are classified, so the
weight of a channel is the derivative of the logit with respect to its mean, which needs no autograd.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.medical.chest_xray.films import PREPROCESSING
from services.medical.chest_xray.roles import ATTENTION, CLASSES, EVIDENCE, FILM, FRONTAL, LOGITS, OPACITY, OUTPUTS
from services.medical.chest_xray.training.networks.network import Answer, ChestXrayNetwork
from services.medical.chest_xray.training.networks.options import Logits
from services.medical.chest_xray.training.stages.run import Calibration

OPSET: Final = 18
BATCH: Final = "batch"
NETWORK_OUTPUTS: Final = tuple(name for name in OUTPUTS if name != FRONTAL)
"""Of a network; `screening.append_frontal` adds the last."""
_SCORED: Final = (LOGITS, OPACITY)


class ServedNetwork(nn.Module):
    """A network with its calibration, films (n, 1, H, W) to those outputs of `roles` that it has.

    Args:
        network: any; an ablation may lack attention or a head.
        calibration: temperatures.
        head: whose logits are given, of the fusion classifier or of the first encoder's own.

    Attributes:
        outputs: names, in the order of `NETWORK_OUTPUTS`.
    """

    def __init__(self, network: ChestXrayNetwork, calibration: Calibration, *, head: Logits = "fusion") -> None:
        super().__init__()
        self.network, self.calibration = network, calibration
        self.head: Logits = "encoder" if network.fusion is None else head
        lacking = {OPACITY: network.opacity, ATTENTION: network.attention}
        self.outputs = tuple(name for name in NETWORK_OUTPUTS if lacking.get(name, network) is not None)

    def forward(self, film: Tensor) -> tuple[Tensor, ...]:
        """The outputs."""
        answer, calibration = self.network(film), self.calibration
        logits = answer.logits if self.head == "fusion" else answer.encoder_logits
        found = {LOGITS: logits / calibration.temperature, EVIDENCE: self.evidence(answer)}
        if answer.opacity is not None:
            found[OPACITY] = answer.opacity / calibration.opacity_temperature
        if answer.attention_logits is not None:
            attention = answer.attention_logits.flatten(1).softmax(dim=1)
            found[ATTENTION] = attention.reshape(-1, *self.network.options.size)
        return tuple(found[name] for name in self.outputs)

    def evidence(self, answer: Answer) -> Tensor:
        """(n, classes, h, w); its mean over the places is what the map adds to a logit, to first order.

        Args:
            answer: of the network.
        """
        weights = self.network.logit_gradient(answer.pooled, self.head) / self.calibration.temperature
        places = answer.features.shape[2:]
        found = weights @ answer.features.flatten(2)
        return found.reshape(-1, self.network.options.classes, int(places[0]), int(places[1]))


@torch.no_grad()
def export_network(network: ChestXrayNetwork, calibration: Calibration, *, head: Logits = "fusion") -> bytes:
    """The graph of a network, single precision, for any number of films of the network's size.

    Calibration, classes and the preparation of films stand in the file's metadata, too.
    """
    served = ServedNetwork(network, calibration, head=head).eval()
    height, width = network.options.size
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            served.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            (torch.rand(2, 1, height, width),),
            content,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=[FILM],
            output_names=list(served.outputs),
            dynamic_axes={name: {0: BATCH} for name in (FILM, *served.outputs)},
        )
    model: Any = onnx.load_model_from_string(content.getvalue())
    _state_shapes(model, output_shapes(network))
    stated = {name: str(value) for name, value in asdict(calibration).items()}
    onnx.helper.set_model_props(model, stated | {"classes": ",".join(CLASSES), "preprocessing": PREPROCESSING})
    onnx.checker.check_model(model, full_check=True)
    exported: bytes = model.SerializeToString()
    return exported


def output_shapes(network: ChestXrayNetwork) -> dict[str, list[int | str]]:
    """Sizes of a released file's outputs by name; the first stands for any number of films."""
    (height, width), classes = network.options.size, network.options.classes
    return {
        LOGITS: [BATCH, classes],
        OPACITY: [BATCH],
        ATTENTION: [BATCH, height, width],
        EVIDENCE: [BATCH, classes, height // 32, width // 32],
        FRONTAL: [BATCH],
    }


def _state_shapes(model: Any, shapes: Mapping[str, list[int | str]]) -> None:
    """State the axes of the outputs, which the exporter gives up behind a reshape."""
    for value in model.graph.output:
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in shapes[value.name]:
            if isinstance(size, str):
                shape.dim.add().dim_param = size
            else:
                shape.dim.add().dim_value = size


def run_graph(content: bytes, films: NDArray[np.float32], *, threads: int = 1) -> dict[str, NDArray[np.float32]]:
    """Outputs of a graph by name, for films (n, 1, H, W)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {FILM: films}), strict=True))


@torch.no_grad()
def run_network(
    network: ChestXrayNetwork, calibration: Calibration, films: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """The same by torch."""
    served = ServedNetwork(network, calibration).eval()
    outputs = served(torch.from_numpy(films))
    return {name: one.numpy() for name, one in zip(served.outputs, outputs, strict=True)}


def differences(
    found: Mapping[str, NDArray[np.float32]], wanted: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Largest absolute difference of each output; maps are compared in units of the largest value that is wanted."""
    largest = {}
    for name in wanted:
        scale = 1.0 if name in _SCORED else max(float(np.abs(wanted[name]).max()), 1e-30)
        largest[name] = float(np.abs(found[name] - wanted[name]).max()) / scale
    return largest
