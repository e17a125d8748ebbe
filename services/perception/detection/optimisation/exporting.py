"""A detector as one ONNX graph.

Input `image` float32 (1, 3, height, width) in [0, 1], RGB, height and width multiples of the largest stride. Outputs
`boxes` float32 in pixels and `scores` float32 (regions, classes) in [0, 1], before the last threshold and suppression,
which whoever serves it applies, since they are chosen per request: for Faster R-CNN boxes are
(regions, classes, 4) and regions are proposals, the surest first; for the dense detector boxes are (regions, 4).
"""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

import onnx
import torch
from torch import Tensor, nn

from services.perception.detection.optimisation import onnx_operators
from services.perception.detection.optimisation.boxes import clip, decode, large_enough
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.faster_rcnn import FasterRcnn
from services.perception.detection.optimisation.single_stage import SingleStageDetector
from shared.detectors.roles import BOXES, IMAGE, SCORES

OPSET: Final = 18
REGIONS: Final = "regions"


class ExportedFasterRcnn(nn.Module):
    """`FasterRcnn.predict` of one image in operators of ONNX."""

    def __init__(self, detector: FasterRcnn) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores."""
        detector, size = self.detector, onnx_operators.image_size(image)
        maps = detector.backbone(image)
        found, options = detector.proposals(maps), detector.options.proposals
        chosen = onnx_operators.surest(found.logits[0], options.before)
        boxes = clip(decode(found.deltas[0][chosen], found.anchors[chosen]), size)
        large = large_enough(boxes, options.smallest).nonzero()[:, 0]
        boxes, scores = boxes[large], found.logits[0][chosen][large]
        kept = onnx_operators.suppress(boxes, scores, overlap=options.overlap, most=options.after)
        answer = detector.heads.predict(maps, boxes[kept], size, pooling=onnx_operators.roi_align)
        return answer.boxes, answer.scores


class ExportedSingleStage(nn.Module):
    """`SingleStageDetector.predict` of one image in operators of ONNX."""

    def __init__(self, detector: SingleStageDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores."""
        detector = self.detector
        found = detector.cells(detector.backbone(image))
        logits = found.logits[0]
        chosen = onnx_operators.surest(logits.amax(dim=1), detector.options.most)
        boxes = decode(found.deltas[0][chosen], found.squares[chosen])
        return clip(boxes, onnx_operators.image_size(image)), logits[chosen].sigmoid()


@torch.no_grad()
def export_detector(detector: Detector) -> bytes:
    """The graph of a detector, which is left in its mode.

    Raises:
        TypeError: there is no graph for detectors of this class.
    """
    training = detector.training
    try:
        return _export(_exported(detector).eval(), detector)
    finally:
        detector.train(training)


def _exported(detector: Detector) -> nn.Module:
    if isinstance(detector, FasterRcnn):
        return ExportedFasterRcnn(detector)
    if isinstance(detector, SingleStageDetector):
        return ExportedSingleStage(detector)
    raise TypeError(f"no graph is known for {type(detector).__name__}")


def _export(module: nn.Module, detector: Detector) -> bytes:
    device = next(detector.parameters()).device
    side = 4 * detector.backbone.options.strides[-1]
    image = torch.rand(1, 3, side, side + detector.backbone.options.strides[-1], device=device)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (image,),
            content,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[BOXES, SCORES],
            dynamic_axes={IMAGE: {2: "height", 3: "width"}, BOXES: {0: REGIONS}, SCORES: {0: REGIONS}},
        )
    model: Any = onnx.load_model_from_string(content.getvalue())
    _state_shapes(model, detector)
    onnx.checker.check_model(model, full_check=True)
    exported: bytes = model.SerializeToString()
    return exported


def _state_shapes(model: Any, detector: Detector) -> None:
    """State the axes of the outputs, which the exporter gives up behind operators that it does not know."""
    boxes = [detector.classes, 4] if isinstance(detector, FasterRcnn) else [4]
    for value, sizes in zip(model.graph.output, (boxes, [detector.classes]), strict=True):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        shape.dim.add().dim_param = REGIONS
        for size in sizes:
            shape.dim.add().dim_value = size
    for node in model.graph.node:
        # With an empty name for an input that is left out, onnxruntime pads by an operator of its own.
        while node.op_type == "Pad" and not node.input[-1]:
            node.input.pop()
