"""The measured figures as a page that is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.training.tables import head, interval_cell, row

EVALUATION = Path(__file__).parent / "evaluation.json"
REPORT = Path(__file__).parents[1] / "report.md"
"""Beside the code, made of the figures by `make evaluate-explanations`."""

AIM = 4
"""Forward passes that an explanation by sharing ratios was to cost at most."""

Record = dict[str, Any]


def render(record: Record) -> str:
    """The whole page, Markdown."""
    lines = [
        "# Explanations, measured",
        "",
        f"Written by `make evaluate-explanations` ({record['machine']}). Brackets hold 95 % bootstrap intervals over",
        "pictures. The classifier is the released traffic-sign network; what is found of it need not hold of others.",
        "",
    ]
    for section in (_quality, _boxes, _robustness, _claims, _patterns, _cost, _exactness):
        lines += [*section(record), ""]
    return "\n".join(lines)


def _quality(record: Record) -> list[str]:
    mosaic, faithful = record["mosaics"], record["faithfulness"]
    return [
        "## Where relevance lies, and what it does",
        "",
        f"Mosaics: {mosaic['pictures']} of four signs at 64x64, one class asked for; chance is 25 %. Deletion and",
        f"insertion: area under its probability, {faithful['pictures']} test pictures, 16 steps. Sparsity: Gini.",
        "",
        *head("method", "pointing, % up", "relevance inside, % up", "deletion, down", "insertion, up", "sparsity"),
        *(
            row(
                method.value,
                interval_cell(mosaic["pointing"].get(method.value), percent=True),
                interval_cell(mosaic["localisation"].get(method.value), percent=True),
                interval_cell(faithful["deletion"].get(method.value)),
                interval_cell(faithful["insertion"].get(method.value)),
                interval_cell(faithful["sparsity"].get(method.value)),
            )
            for method in Method
        ),
    ]


def _boxes(record: Record) -> list[str]:
    boxes = record["boxes"]
    white, platelet = boxes["white cell"], boxes["platelet"]
    figures = [(part, figure) for part in (white, platelet) for figure in ("pointing", "localisation")]
    return [
        "## Boxes",
        "",
        f"Crops of stained blood, a small network with maximum pooling (accuracy {boxes['accuracy']:.1%} of",
        f"{boxes['crops']} crops of other pictures). {white['pictures']} rightly classified crops with a white cell",
        f"(boxes cover {white['area']:.1%}), {platelet['pictures']} with a platelet ({platelet['area']:.1%}).",
        "",
        *head(
            "method", "white cell: pointing, %", "relevance inside, %", "platelet: pointing, %", "relevance inside, %"
        ),
        *(
            row(method.value, *(interval_cell(part[name].get(method.value), percent=True) for part, name in figures))
            for method in Method
        ),
    ]


def _robustness(record: Record) -> list[str]:
    stable, sane, tricked = record["stability"], record["sanity"], record["manipulation"]
    kept = min(one["mean"] for one in tricked["kept"].values())
    return [
        "## Steadiness",
        "",
        f"Lipschitz: largest change of the map (norm 1) over that of the picture, noise of 0.1, {stable['pictures']}",
        f"pictures. Shuffled weights: |rank correlation| with the true map, {sane['pictures']} pictures; a map that",
        f"reads the weights loses it. Manipulation: {tricked['pictures']} pictures changed by at most 8/255 towards",
        "the map of another; rank correlation with that goal before and after, and with its own map after.",
        "",
        *head(
            "method", "Lipschitz, down", "head shuffled", "all shuffled, down", "goal, before", "goal, after, down",
            "own map, after, up",
        ),
        *(
            row(
                method.value,
                interval_cell(stable["lipschitz"].get(method.value)),
                interval_cell(sane["0.1"].get(method.value)),
                interval_cell(sane["1.0"].get(method.value)),
                interval_cell(tricked["before"].get(method.value)),
                interval_cell(tricked["goal"].get(method.value)),
                interval_cell(tricked["original"].get(method.value)),
            )
            for method in Method
        ),
        "",
        f"At least {kept:.0%} of the changed pictures kept their class, whatever the method.",
    ]  # fmt: skip


def _place(table: Record, *, up: bool) -> str:
    """Which place sharing ratios take among the methods of a table."""
    known = [method for method in Method if method.value in table]
    order = sorted(known, key=lambda method: table[method.value]["mean"], reverse=up)
    return f"srd is number {1 + order.index(Method.SRD)} of {len(order)} (first: {order[0].value})"


def _claims(record: Record) -> list[str]:
    """The paper's claims, each with what was found here."""
    mosaic, faithful, tricked = record["mosaics"], record["faithfulness"], record["manipulation"]
    lipschitz = record["stability"]["lipschitz"]
    return [
        "## The paper's claims beside these figures",
        "",
        "Han, Kim and Kwak claim fine maps, higher fidelity and higher robustness than earlier methods, on ImageNet",
        "with VGG16 and ResNet50. Their tables could not be verified and are not quoted; their networks are not used.",
        "",
        f"- Localisation on mosaics: by pointing {_place(mosaic['pointing'], up=True)}; by relevance inside",
        f"  {_place(mosaic['localisation'], up=True)}.",
        f"- Fidelity: by deletion {_place(faithful['deletion'], up=False)}; by insertion",
        f"  {_place(faithful['insertion'], up=True)}.",
        f"- Robustness: by Lipschitz {_place(lipschitz, up=False)}, where centre and random never look at",
        f"  the picture; against manipulation, by its own map kept, {_place(tricked['original'], up=True)}.",
    ]


def _patterns(record: Record) -> list[str]:
    patterns = record["patterns"]
    return [
        "## Activation patterns alone",
        "",
        f"Accuracy on {patterns['pictures']} test pictures: plain {patterns['plain']:.2%}. With the pattern of the",
        "picture and this in its place:",
        "",
        *head("runs through the network", "accuracy, %"),
        *(row(name, f"{100 * patterns[name]:.2f}") for name in patterns if name not in {"pictures", "plain"}),
    ]


def _cost(record: Record) -> list[str]:
    srd = record["cost"]["srd"]
    return [
        "## Cost",
        "",
        "One picture, one thread, middle of 40 rounds in which all take turns.",
        "",
        *head("", "ms", "forward passes"),
        *(row(name, f"{one['ms']:.2f}", f"{one['forward_passes']:.2f}") for name, one in record["cost"].items()),
        "",
        f"The aim was {AIM} forward passes for srd: {'met' if srd['forward_passes'] <= AIM else 'missed'} on this",
        "processor. A forward and a transposed pass are two of them, norms of contributions one; the rest is moving",
        "tensors, which weighs more where convolutions are fast (wide vectors).",
    ]


def _exactness(record: Record) -> list[str]:
    exact, layers = record["exactness"], record["conservation"]
    return [
        "## Exactness",
        "",
        f"Largest difference relative to the largest relevance, trained network: {exact['torch']:.1e} to torch on",
        f"{exact['pictures']} pictures, {exact['loops']:.1e} to loops over positions and taps in double precision on",
        f"{exact['loops_pictures']}. Sums of relevance against the logit, 500 pictures:",
        "",
        *head("layer", "median error", "largest error"),
        *(row(f"`{one['layer']}`", f"{one['median']:.1e}", f"{one['largest']:.1e}") for one in layers if one["whole"]),
        "",
        "Inside of residual blocks, where the shortcut carries the rest past the layer, its share of the relevance:",
        "",
        *head("layer", "median share"),
        *(row(f"`{one['layer']}`", f"{1 - one['median']:.2f}") for one in layers if not one["whole"]),
    ]
