"""The figures of photographs as a page that is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.training.photographs import STEPS
from services.uncertainty.explanation.training.tables import head, interval_cell, row

EVALUATION = Path(__file__).parent / "photographs.json"
REPORT = Path(__file__).parents[1] / "photographs.md"
"""Beside the code, made of the figures by `make evaluate-explanations`."""

Record = dict[str, Any]

_SEEN = [
    "Looked at: the maps of a zebra, a lioness and a military aircraft, each method beside the photograph. Plain",
    "sharing ratios follow edges, ears, muzzle and stripes first, but colour the background too, thinly, and show a",
    "checkerboard of two pixels that comes of the strides. With contrast, the head of the lioness, face and neck of",
    "the zebra and the body of the aircraft are red, and grass, sky, ground and a tree trunk blue: of these the maps",
    "that say most. They find the subject, not a part of it by which one would know the class. The class map and",
    "Grad-CAM cover subject and surroundings with one blob; z+ outlines whatever has an edge; epsilon, gradient times",
    "input and integrated gradients are specks of both signs around the subject.",
]
"""By eye; to be looked at again where the rules or the classifier change."""


def render(record: Record) -> str:
    """The whole page, Markdown."""
    return "\n".join([*_beginning(record), "", *_figures(record), "", *_sums(record), "", *_cost(record), ""])


def _beginning(record: Record) -> list[str]:
    return [
        "# Explanations of photographs",
        "",
        f"Written by `make evaluate-explanations` ({record['machine']}). The classifier is imagenet-lite0,",
        f"EfficientNet-Lite0 with ImageNet's classes; {record['photographs']} photographs of BSDS500 whose subject it",
        "names first. So few that only large differences mean anything; brackets hold 95 % bootstrap intervals.",
        "",
        *_SEEN,
    ]


def _figures(record: Record) -> list[str]:
    mosaics, classes = record["mosaics"], record["classes"]
    return [
        "## Where relevance lies",
        "",
        f"Mosaics: {mosaics['pictures']} of four subjects in a square, one asked for; chance is 25 %. Other class:",
        "rank correlation of the map of the subject with that of the class that comes second; near 1, the map hardly",
        "says which.",
        "",
        *head("method", "pointing, % up", "relevance inside, % up", "other class, down"),
        *(
            row(
                method.value,
                interval_cell(mosaics["pointing"].get(method.value), percent=True),
                interval_cell(mosaics["localisation"].get(method.value), percent=True),
                interval_cell(classes.get(method.value)),
            )
            for method in Method
        ),
    ]


def _sums(record: Record) -> list[str]:
    return [
        "## Whether it adds up",
        "",
        "Sum of the relevance of all pixels over the logit: 1 where all of it is shared out. Absolute: the same of its",
        "absolute values, by which it is seen how much cancels. Layer-wise propagation gives biases nothing: in",
        "depthwise convolutions, where few values reach a channel, most of the logit is lost to them.",
        "",
        *head("method", "sum, middle", "largest error", "absolute, middle"),
        *(
            row(name, f"{one['median']:.5f}", f"{one['largest_error']:.2g}", f"{one['absolute']:.2f}")
            for name, one in record["sums"].items()
        ),
    ]


def _cost(record: Record) -> list[str]:
    memory, cost = record["memory_mib"], record["cost_ms"]
    return [
        "## Cost",
        "",
        f"One picture on one thread, middle of some (integrated gradients: {STEPS} steps); the first makes the graph.",
        f"Resident memory of the process, MiB, after each method was run in this order; before any {memory['before']}.",
        "The service makes graphs of this model when they are asked for, and lets those go that were not asked for the",
        "longest.",
        "",
        *head("method", "ms", "first, ms", "memory, MiB"),
        *(
            row(
                method.value,
                str(cost[method.value]["middle"]),
                str(cost[method.value]["first"]),
                str(memory[method.value]),
            )
            for method in Method
        ),
    ]
