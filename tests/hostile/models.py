"""Models of a node or two that show whose answer an answer is, and how large one can get."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

from tests.hostile.processes import ROOT
from tests.support.graphs import release_graph


def release_models(models: Path) -> None:
    """Write "echo" (answers what it is asked), "fill" (so many zeros) and the released classifier of signs."""
    domain = models / "perception"
    shutil.copytree(ROOT / "services" / "perception" / "models" / "traffic-signs", domain / "traffic-signs")
    release_graph(
        domain,
        "echo",
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[("x", "float32", ["batch", "n"])],
        outputs=[("y", "float32", ["batch", "n"])],
    )
    zero = numpy_helper.from_array(np.zeros(1, np.float32))
    release_graph(
        domain,
        "fill",
        [helper.make_node("ConstantOfShape", ["count"], ["y"], value=zero)],
        inputs=[("count", "int64", [1])],
        outputs=[("y", "float32", ["n"])],
    )
