"""Measures sharing ratios beside every baseline; what the parts give is gathered in `evaluation.json`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from tqdm import tqdm

from services.uncertainty.explanation.inference import Explainer, substitute_pictures
from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.networks.graph import Network
from services.uncertainty.explanation.networks.reading.network import read_network
from services.uncertainty.explanation.training import metrics, naive
from services.uncertainty.explanation.training.blood_cells import CLASSES, MODEL, read_crops
from services.uncertainty.explanation.training.blood_cells import FOLDER as CELLS
from services.uncertainty.explanation.training.manipulation import ATTACKED, attack, relevance
from services.uncertainty.explanation.training.randomisation import DEPTHS, randomised
from services.uncertainty.explanation.training.subjects import (
    at_size,
    explainer_of,
    load_model,
    logits_of,
    maps_of,
    mosaics,
    sign_classifier,
)
from services.uncertainty.explanation.training.torch_operations import explain, forward
from shared.datasets.traffic_signs import FOLDER as SIGNS
from shared.datasets.traffic_signs import read_test
from shared.runtime.session_options import session_options

Record = dict[str, Any]
Figures = Mapping[Method, NDArray[np.float64]]

NAIVE_PICTURES = 2

PARTS = (
    "cost", "exactness", "conservation", "boxes", "mosaics", "faithfulness", "stability", "sanity", "manipulation",
    "patterns",
)  # fmt: skip
"""Methods of `Evaluation`, in the order that they are run."""


class Evaluation:
    """All measurements of one run.

    Args:
        data: folder of the data sets.
        threads: threads that one run computes with.
        scale: share of the pictures to take; 1 for the published figures.
    """

    def __init__(self, data: Path, *, threads: int, scale: float = 1.0) -> None:
        self.data, self.threads, self.scale = data, threads, scale
        self.card, self.model = sign_classifier()
        self.explainer = explainer_of(self.model, self.card, threads=threads)
        self.signs = read_test(data / SIGNS)
        self.pictures = self.signs.tensor()
        self.logits = logits_of(self.explainer, self.pictures)

    def _some(self, count: int, *, seed: int = 0) -> NDArray[np.int64]:
        """Test pictures that are classified rightly, drawn anew for each seed."""
        right = np.flatnonzero(self.logits.argmax(axis=1) == self.signs.classes)
        return np.random.default_rng(seed).choice(right, max(4, int(count * self.scale)), replace=False)

    def exactness(self) -> Record:
        """ONNX beside torch and beside loops over positions and taps, in double precision, on the trained network."""
        network, chosen = read_network(self.model), self._some(64)
        pictures, targets = self.pictures[chosen], self.signs.classes[chosen]
        found = maps_of(self.explainer, pictures, Method.SRD, targets)
        inner = _normaliser(self.model)(torch.from_numpy(pictures))
        with torch.no_grad():
            _, expected = explain(network, inner, torch.from_numpy(targets))
        record = {"torch": _distance(found, expected[network.input][:, 0].numpy()), "pictures": len(chosen)}
        loops = []
        for index in tqdm(range(NAIVE_PICTURES), desc="loops over positions"):
            values = naive.run(network, inner[index].double().numpy())
            features = values[network.head.source]
            weight, bias = network.head.weight[targets[index]], network.head.bias[targets[index]]
            top = (np.tensordot(weight, features, 1) + bias) / features[0].size
            loops.append(_distance(found[index], naive.pass_down(network, values, top)[network.input]))
        return {**record, "loops": max(loops), "loops_pictures": NAIVE_PICTURES}

    def conservation(self) -> list[Record]:
        """How far the sums of relevance at each layer are from the logit, relative to it.

        Within a residual block the shortcut carries a part past the layer: there the layer's share is told.
        """
        layers, network = self.explainer.layers, read_network(self.model)
        sums: dict[str, list[float]] = {layer: [] for layer in layers}
        for index in tqdm(self._some(500), desc="conservation"):
            one = self.explainer.explain(self.pictures[index : index + 1], Method.SRD, layers=layers)
            logit = float(one.logits.max())
            for layer, found in one.layers.items():
                sums[layer].append(abs(float(found.sum(dtype=np.float64)) - logit) / abs(logit))
        return [
            {
                "layer": layer,
                "whole": _carries_all(network, layer),
                "median": float(np.median(errors)),
                "largest": max(errors),
            }
            for layer, errors in sums.items()
        ]

    def mosaics(self) -> Record:
        """Grid pointing game on mosaics of four signs."""
        subject = mosaics(self.signs, self.logits, count=max(4, int(500 * self.scale)))
        explainer = explainer_of(at_size(self.model, 64), self.card, threads=self.threads)
        maps = _maps(explainer, subject.pictures, subject.targets, "mosaics")
        return {
            "pictures": len(subject.targets),
            "pointing": _table({name: metrics.pointing(one, subject.masks) for name, one in maps.items()}),
            "localisation": _table({name: metrics.localisation(one, subject.masks) for name, one in maps.items()}),
        }

    def boxes(self) -> Record:
        """Pointing at white cells and at platelets, on crops of the test split."""
        explainer = explainer_of(load_model(MODEL), self.card, threads=self.threads)
        crops = read_crops(self.data / CELLS, "test", seed=0)
        predicted = logits_of(explainer, crops.pictures).argmax(axis=1)
        record: Record = {"accuracy": float((predicted == crops.classes).mean()), "crops": len(crops)}
        for label, name in enumerate(CLASSES[:2]):
            chosen = np.flatnonzero((crops.classes == label) & (predicted == label))
            chosen = chosen[: max(4, int(len(chosen) * self.scale))]
            masks, targets = crops.masks[chosen], crops.classes[chosen]
            maps = _maps(explainer, crops.pictures[chosen], targets, name)
            record[name] = {
                "pictures": len(chosen),
                "area": float(masks.mean()),
                "pointing": _table({method: metrics.pointing(one, masks) for method, one in maps.items()}),
                "localisation": _table({method: metrics.localisation(one, masks) for method, one in maps.items()}),
            }
        return record

    def faithfulness(self) -> Record:
        """Deletion, insertion and sparsity on test pictures."""
        chosen = self._some(300, seed=1)
        pictures, targets = self.pictures[chosen], self.signs.classes[chosen]
        maps = _maps(self.explainer, pictures, targets, "faithfulness")
        curves = {
            method: metrics.deletion_and_insertion(one, pictures, targets, self._predict)
            for method, one in tqdm(maps.items(), desc="deletion and insertion")
        }
        return {
            "pictures": len(chosen),
            "deletion": _table({method: deleted for method, (deleted, _) in curves.items()}),
            "insertion": _table({method: inserted for method, (_, inserted) in curves.items()}),
            "sparsity": _table({method: metrics.sparsity(one) for method, one in maps.items()}),
        }

    def _predict(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits_of(self.explainer, pictures)

    def stability(self) -> Record:
        """Local Lipschitz constants under noise."""
        chosen = self._some(100, seed=2)
        pictures, targets = self.pictures[chosen], self.signs.classes[chosen]
        found = {}
        for method in tqdm(Method, desc="stability"):

            def look(
                changed: NDArray[np.float32], classes: NDArray[np.int64], by: Method = method
            ) -> NDArray[np.float32]:
                return maps_of(self.explainer, changed, by, classes)

            found[method] = metrics.lipschitz(pictures, targets, look)
        return {"pictures": len(chosen), "lipschitz": _table(found)}

    def sanity(self) -> Record:
        """Rank correlation of maps before and after weights are shuffled, from the head down."""
        chosen = self._some(64, seed=3)
        pictures, targets = self.pictures[chosen], self.signs.classes[chosen]
        plain = _maps(self.explainer, pictures, targets, "sanity, plain")
        found: Record = {"pictures": len(chosen)}
        for depth in DEPTHS:
            shuffled = explainer_of(randomised(self.model, depth), self.card, threads=self.threads)
            maps = _maps(shuffled, pictures, targets, f"sanity, {depth:.0%}")
            alike = {method: np.abs(metrics.similarity(plain[method], one)) for method, one in maps.items()}
            found[f"{depth}"] = _table(alike)
        return found

    def manipulation(self) -> Record:
        """How far the map of a sign can be made that of another by an invisible change."""
        torch.set_num_threads(self.threads)
        network, normalise, chosen = read_network(self.model), _normaliser(self.model), self._some(16, seed=4)
        pictures, classes = torch.from_numpy(self.pictures[chosen]), torch.from_numpy(self.signs.classes[chosen])
        found: dict[str, dict[Method, NDArray[np.float64]]] = {"before": {}, "goal": {}, "original": {}, "kept": {}}
        for method in tqdm(ATTACKED, desc="manipulation"):

            def look(changed: torch.Tensor, by: Method = method) -> torch.Tensor:
                return relevance(network, forward(network, normalise(changed)), classes, by).detach()

            plain = look(pictures)
            goal = plain.roll(1, dims=0)
            changed = attack(network, normalise, pictures, classes, method, goal=goal)
            after = look(changed)
            with torch.no_grad():
                predicted = forward(network, normalise(changed))[network.head.logits].argmax(1)
            found["before"][method] = metrics.similarity(plain.numpy(), goal.numpy())
            found["goal"][method] = metrics.similarity(after.numpy(), goal.numpy())
            found["original"][method] = metrics.similarity(after.numpy(), plain.numpy())
            found["kept"][method] = (predicted == classes).double().numpy()
        return {"pictures": len(chosen), **{name: _table(figures) for name, figures in found.items()}}

    def patterns(self) -> Record:
        """Accuracy from the activation pattern alone, by what runs through the network instead of the picture."""
        count = max(8, int(len(self.signs) * self.scale))
        order = np.random.default_rng(5).permutation(len(self.signs))[:count]
        classes, pictures = self.signs.classes[order], self.pictures[order]
        others = {"the picture itself": pictures, "another picture": np.roll(pictures, 1, axis=0)}
        for kind in ("black", "grey", "white", "noise"):
            others[kind] = substitute_pictures(kind, pictures.shape, seed=0)
        record: Record = {"pictures": count, "plain": float((self.logits[order].argmax(1) == classes).mean())}
        for name, other in others.items():
            right = 0
            for start in tqdm(range(0, count, 16), desc=f"patterns, {name}"):
                part = slice(start, start + 16)
                logits = self.explainer.pattern_logits(pictures[part], other[part])
                right += int((logits.argmax(1) == classes[part]).sum())
            record[name] = right / count
        return record

    def cost(self) -> Record:
        """Milliseconds of one picture on one thread, methods taking turns; the middle of 40 rounds."""
        explainer, picture = explainer_of(self.model, self.card, threads=1), self.pictures[:1]
        session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"]
        )
        times: dict[str, list[float]] = {"forward": [], **{method.value: [] for method in Method}}
        for _ in tqdm(range(max(4, int(40 * self.scale))), desc="cost"):
            times["forward"].append(_seconds(lambda: session.run(None, {"pictures": picture})))
            for method in Method:
                times[method.value].append(_seconds(lambda by=method: explainer.explain(picture, by)))  # type: ignore[misc]
        middle = {name: float(np.median(one)) for name, one in times.items()}
        return {
            name: {"ms": 1000 * value, "forward_passes": value / middle["forward"]} for name, value in middle.items()
        }


def _seconds(work: Callable[[], object]) -> float:
    work()  # brings weights and code back into the caches that the others used
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _carries_all(network: Network, layer: str) -> bool:
    """Whether no branch leads from below the layer to above it."""
    order = list(network.layers())
    place = order.index(layer)
    above = (junction for junction in network.junctions if order.index(junction.output) > place)
    return all(order.index(branch.source) >= place for junction in above for branch in junction.branches)


def _maps(
    explainer: Explainer, pictures: NDArray[np.float32], targets: NDArray[np.int64], what: str
) -> dict[Method, NDArray[np.float32]]:
    return {method: maps_of(explainer, pictures, method, targets) for method in tqdm(Method, desc=what)}


def _table(figures: Figures) -> Record:
    """Mean and interval of each method, and the paired difference of sharing ratios to it."""
    table = {}
    for method, values in figures.items():
        paired = metrics.interval(figures[Method.SRD] - values) if method is not Method.SRD else None
        table[method.value] = {**metrics.interval(values), "srd_minus": paired}
    return table


def _distance(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _normaliser(model: onnx.ModelProto) -> Callable[[torch.Tensor], torch.Tensor]:
    """(x - mean) / deviation with the constants of the graph's first subtraction and division."""
    constants = {item.name: torch.from_numpy(np.array(numpy_helper.to_array(item))) for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = torch.from_numpy(np.array(numpy_helper.to_array(node.attribute[0].t)))
    subtract, divide = (next(node for node in model.graph.node if node.op_type == kind) for kind in ("Sub", "Div"))
    mean, deviation = constants[subtract.input[1]], constants[divide.input[1]]
    return lambda pictures: (pictures - mean) / deviation
