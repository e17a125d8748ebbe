"""A generator of another classifier, tuned by asking: a fleet is started that serves chips of the classifier."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import numpy_helper
from tqdm import tqdm

from services.security.bit_errors.faults import FaultModel
from services.security.bit_errors.weight_memory import WeightMemory
from services.security.neuralfuse.evaluation.measuring import StoredClassifier, read_pictures, transform
from services.security.neuralfuse.evaluation.protection import OTHER_BASE, OWN_BASE, base_card, content_of
from services.security.neuralfuse.training.exports import export_fuse, read_base
from services.security.neuralfuse.training.query_training import QueryRecipe, tune
from services.security.neuralfuse.training.release import base_name, released_file
from services.security.neuralfuse.training.runs import read_fuse
from services.security.neuralfuse.training.served_classifiers import ServedClassifier
from shared.datasets.traffic_signs import FOLDER, read_training, split_by_track
from shared.fleet.budget import QueryBudget
from shared.runtime.models.releases import weights_of

GENERATOR_RUN = "unetl-vgg11"
CHIPS = (40_000, 40_001, 40_002, 40_003)
RATE = 0.01
BUDGET = 90_000
RECIPE = QueryRecipe(steps=60)

_PATIENCE_S = 120.0


def measure(data: Path, every: int, runs: Path) -> dict[str, Any]:
    """The other classifier behind the transferred generator, and behind the tuned one."""
    pictures, classes = read_pictures(data, every=every)
    content = content_of(base_card(OTHER_BASE))
    measured = StoredClassifier(content)
    fuse, budget = read_fuse(runs / GENERATOR_RUN), QueryBudget(BUDGET)
    transferred = measured.accuracies(transform(export_fuse(fuse), pictures), classes, title="transferred")
    training, _ = split_by_track(read_training(data / FOLDER))
    surrogate = read_base(released_file(base_name(OWN_BASE)), OWN_BASE)
    began = time.monotonic()
    with _fleet() as http:
        nominal, *low = _upload(http, content, budget)
        steps = tune(fuse, nominal, low, training, RECIPE, surrogate=surrogate)
        losses = [both for _, *both in tqdm(steps, total=RECIPE.steps, desc="queries")]
    seconds = time.monotonic() - began
    tuned = measured.accuracies(transform(export_fuse(fuse), pictures), classes, title="tuned")
    tenth = max(1, len(losses) // 10)
    return {
        "generator": GENERATOR_RUN,
        "base": base_name(OTHER_BASE),
        "chips": len(CHIPS),
        "queries": budget.spent,
        "steps": len(losses),
        "seconds_of_queries": round(seconds, 1),
        "first_losses": np.mean(losses[:tenth], axis=0).round(4).tolist(),
        "last_losses": np.mean(losses[-tenth:], axis=0).round(4).tolist(),
        "pictures": len(pictures),
        "transferred": transferred.as_json(),
        "tuned by queries": tuned.as_json(),
    }


@contextmanager
def _fleet() -> Iterator[httpx.Client]:
    """A fleet of its own on free ports; a client of its gateway."""
    with TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "deploy.local", "--free-ports", "--without-torch"]
        process = subprocess.Popen([*command, "--state", folder, "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=_wait_for(ready, process), timeout=_PATIENCE_S) as http:
                yield http
        finally:
            process.terminate()
            process.wait()


def _wait_for(ready: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the fleet did not start")
        time.sleep(0.1)
    return str(json.loads(ready.read_text(encoding="utf-8"))["url"])


def _upload(http: httpx.Client, content: bytes, budget: QueryBudget) -> Iterator[ServedClassifier]:
    """The classifier as it was written, then as each chip reads it."""
    memory = WeightMemory.read(content)
    models = {"nominal": content}
    models |= {f"chip-{seed}": _perturbed(content, memory, seed) for seed in CHIPS}
    for name, model in models.items():
        card = base_card(OTHER_BASE).model_copy(update={"name": name, "weights": weights_of(model)})
        files = {"card": card.model_dump_json().encode(), "file": model}
        http.post("/v1/models", files=files).raise_for_status()
        yield ServedClassifier(http, name, budget)


def _perturbed(content: bytes, memory: WeightMemory, seed: int) -> bytes:
    """The model with what a chip reads in the place of its weights."""
    model = onnx.load_from_string(content)
    read = memory.perturbed(FaultModel(RATE), seed)
    for tensor in model.graph.initializer:
        if tensor.name in read:
            tensor.CopyFrom(numpy_helper.from_array(read[tensor.name], tensor.name))
    return bytes(model.SerializeToString())
