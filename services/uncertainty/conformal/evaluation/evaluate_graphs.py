"""Graph methods on generated graphs: communities are the labels, features are the labels with noise.

Stochastic block models (Holland et al. 1983): nodes of one community are linked with one probability, of two with a
smaller one. Half of the nodes, by lot, are labelled and calibrate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.uncertainty.conformal.evaluation.airfoil import summary
from services.uncertainty.conformal.evaluation.report import Record, head, row
from services.uncertainty.conformal.methods import graphs
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import conformal_quantile
from services.uncertainty.conformal.methods.metrics import set_metrics
from services.uncertainty.conformal.methods.scores import APS, Sets

ALPHA = "0.1"
NODES, COMMUNITIES, ALIKE = 1500, 6, 20
INSIDE, OUTSIDE = 0.2, 0.01
LEAST = 9
FIRST, SEEDS = 100, 10
NOISES = {"equal": (2.0,) * COMMUNITIES, "unequal": (0.5, 0.8, 1.0, 1.5, 2.5, 4.0)}
"""Standard deviation of the features of each community."""


@dataclass(frozen=True, slots=True, eq=False)
class Communities:
    """A graph with features; labels (N,), adjacency (N, N), features (N, K) that are used as logits."""

    labels: NDArray[np.int64]
    adjacency: graphs.Graph
    features: FloatArray


def communities(noises: tuple[float, ...], random: np.random.Generator, *, nodes: int = NODES) -> Communities:
    """A stochastic block model whose features have a peak of 3 at the label, and noise by community."""
    classes = len(noises)
    labels = random.integers(0, classes, nodes)
    chances = np.where(labels[:, None] == labels, INSIDE, OUTSIDE)
    links = np.triu(random.random((nodes, nodes)) < chances, k=1)
    noise = random.normal(size=(nodes, classes)) * np.array(noises)[labels][:, None]
    return Communities(
        labels, sparse.csr_array((links | links.T).astype(np.float64)), 3 * np.eye(classes)[labels] + noise
    )


def run(noises: tuple[float, ...], seed: int) -> dict[str, dict[str, float]]:
    """Coverage, size and the coverage of the worst community with each method."""
    random = np.random.default_rng(seed)
    graph = communities(noises, random)
    scores = APS().of_all(graph.features, random.random(NODES))
    order = random.permutation(NODES)
    known, asked = order[: NODES // 2], order[NODES // 2 :]
    mixed = {
        "APS": scores,
        "DAPS": graphs.diffuse_scores(scores, graph.adjacency),
        "SNAPS": graphs.navigate_by_similarity(
            scores, graph.adjacency, graphs.find_similar_nodes(graph.features, ALIKE)
        ),
    }
    sets: dict[str, Sets] = {}
    for name, one in mixed.items():
        threshold = conformal_quantile(one[known, graph.labels[known]], ALPHA).value
        sets[name] = one[asked] <= threshold
    near = graphs.NeighbourhoodCalibration(
        nodes=known,
        scores=scores[known, graph.labels[known]],
        distances=graphs.count_hops(graph.adjacency, 1),
        least=LEAST,
    )
    sets["NAPS"] = scores[asked] <= near.thresholds(asked, ALPHA)[:, None]
    return {name: _figures(one, graph.labels[asked]) for name, one in sets.items()}


def _figures(sets: Sets, labels: NDArray[np.int64]) -> dict[str, float]:
    return {
        "coverage": set_metrics.coverage(sets, labels),
        "size": set_metrics.average_size(sets),
        "worst community": float(np.nanmin(set_metrics.class_coverage(sets, labels))),
    }


def measure(data: Path, *, seeds: int = SEEDS) -> Record:
    """Means over seeds; graphs are generated, so no data set is read.

    Args:
        data: not needed.
        seeds: 2 or more.
    """
    found: Record = {}
    for name, noises in NOISES.items():
        runs = [run(noises, FIRST + seed) for seed in range(seeds)]
        found[name] = {
            way: {figure: summary(np.array([one[way][figure] for one in runs])) for figure in figures}
            for way, figures in runs[0].items()
        }
    return {"seeds": seeds, "noises": found}


def render(record: Record) -> list[str]:
    """The section of the report."""
    lines = [
        "## Graphs",
        "",
        f"Synthetic: block models of {NODES:,} nodes in {COMMUNITIES} communities, links with probability {INSIDE}",
        f"inside and {OUTSIDE} between them; 90 % wanted, half of the nodes calibrate, means of",
        f"{record['seeds']} graphs. NAPS calibrates by labelled direct neighbours. SNAPS takes the {ALIKE} nodes with",
        "the most similar features.",
    ]
    for name, ways in record["noises"].items():
        figures = list(next(iter(ways.values())))
        lines += ["", f"Features with {name} noise across communities:", "", *head("", *figures)]
        for way, one in ways.items():
            lines.append(row(way, *(f"{one[figure]['mean']:.3f} ± {one[figure]['error']:.3f}" for figure in figures)))
    return lines


def findings(record: Record) -> list[str]:
    """Write the findings of the section, a sentence or two each."""
    equal, unequal = (record["noises"][name] for name in NOISES)
    sizes = ", ".join(f"{way} {one['size']['mean']:.2f}" for way, one in equal.items())
    worst = ", ".join(f"{way} {100 * one['worst community']['mean']:.0f} %" for way, one in unequal.items())
    return [
        f"Graphs, synthetic: mean sizes with equal noise are {sizes}.",
        f"With unequal noise the worst community is covered by {worst}: averaging over neighbours does not help it.",
    ]
