"""Uploaded classifiers: whether their card lets them be explained, and their graphs, made where they can do no harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import ValidationError

from services.uncertainty.explanation.graphs import ExtendedFile, GraphKind, Outline
from services.uncertainty.explanation.networks.graph import UnsupportedNetwork, UnusableModel
from shared.imaging.preprocessing import preprocessing_of
from shared.isolation import run_isolated
from shared.runtime.cards import UploadedCard
from shared.runtime.inspection.preparation import TrialLimits

_MODULE: Final = "services.uncertainty.explanation.isolated_conversion"
_RANK, _CHANNELS = 4, 3


class IsolatedSource:
    """Makes graphs in a process of its own, with limits on time and memory.

    Args:
        read: reads the ONNX file, anew for each graph.
        limits: of the process.
    """

    def __init__(self, read: Callable[[], bytes], limits: TrialLimits) -> None:
        self._read, self._limits = read, limits

    def outline(self) -> Outline:
        """What the classifier is.

        Raises:
            UnsupportedNetwork: a part of it has no rule, or the process did not come to an end.
        """
        answer, _ = self._ask(None, ())
        found = answer["outline"]
        sizes = {name: (size[0], size[1]) for name, size in found["sizes"].items()}
        return Outline(found["input"], found["last"], sizes)

    def extend(self, kind: GraphKind, layers: Sequence[str]) -> ExtendedFile:
        """Its graph with an explanation behind it, which has been run once.

        Raises:
            UnsupportedNetwork: likewise.
        """
        answer, content = self._ask(kind.name, layers)
        return ExtendedFile(content, tuple(answer["outputs"]))

    def _ask(self, kind: str | None, layers: Sequence[str]) -> tuple[dict[str, Any], bytes]:
        request = {"kind": kind, "layers": list(layers), "memory_bytes": self._limits.memory_bytes}
        try:
            found = run_isolated(_MODULE, request, self._read(), timeout_s=self._limits.timeout_s)
        except TimeoutError:
            raise UnusableModel([f"it was not converted within {self._limits.timeout_s:g} s"]) from None
        if found is None:
            raise UnusableModel(["it ended the process that converted it; it may need more memory than is given"])
        if "unusable" in found[0]:
            raise UnusableModel(found[0]["unusable"])
        if "unsupported" in found[0]:
            raise UnsupportedNetwork(found[0]["unsupported"])
        return found


def require_explainable_card(card: UploadedCard, *, pixel_limit: int) -> None:
    """Refuse a model that is used otherwise than explanations use it: pictures in [0, 1] in, logits out.

    Args:
        card: of the model.
        pixel_limit: most pixels of one picture.

    Raises:
        UnusableModel: names all reasons.
    """
    reasons = [*_tensor_faults(card, pixel_limit), *_parameter_faults(card)]
    if reasons:
        raise UnusableModel(reasons)


def _tensor_faults(card: UploadedCard, pixel_limit: int) -> list[str]:
    if len(card.inputs) != 1 or len(card.outputs) != 1:
        return ["it has not one input and one output"]
    picture = card.inputs[0]
    shape = picture.shape
    if picture.dtype != "float32" or len(shape) != _RANK or shape[1] != _CHANNELS:
        return ["it does not take colour pictures, float32 (batch, 3, height, width)"]
    if not isinstance(shape[2], int) or not isinstance(shape[3], int):
        return ["its height and width are not fixed"]
    if shape[2] * shape[3] > pixel_limit:
        return [f"its pictures of {shape[2]} x {shape[3]} pixels are more than the {pixel_limit} that can be explained"]
    return []


def _parameter_faults(card: UploadedCard) -> list[str]:
    faults = []
    if card.inputs and card.inputs[0].range not in {None, (0.0, 1.0)}:
        faults.append("its pictures are not in [0, 1]: put the normalisation into the graph")
    faults += [
        f"parameters.{name} of its card normalises outside of the graph: put it into the graph"
        for name, plain in (("mean", 0), ("std", 1))
        if card.parameters.get(name, [plain] * _CHANNELS) != [plain] * _CHANNELS
    ]
    temperature = card.parameters.get("temperature", 1.0)
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not math.isfinite(float(str(temperature))) or float(str(temperature)) <= 0:
        faults.append("parameters.temperature of its card is no positive number")
    try:
        preprocessing_of(card.parameters)
    except ValidationError:
        faults.append("parameters.preprocessing of its card says what is not known")
    return faults
