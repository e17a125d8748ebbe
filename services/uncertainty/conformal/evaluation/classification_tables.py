"""The classification section of the report: tables of the figures, and what they say."""

from __future__ import annotations

from itertools import pairwise

from services.uncertainty.conformal.evaluation.report import Record, head, row

_FEW_TIES = 0.01
_PUBLISHED_ORDER = ("THR", "RAPS", "TopK", "APS")


def tables(record: Record) -> list[str]:
    """Lines of Markdown."""
    return [
        "## Classification",
        "",
        f"Logits of the released traffic-sign classifier on the official test set ({record['items']:,} items,",
        f"{record['classes']} classes, accuracy {record['accuracy']:.1%}), divided by the temperature of its card;",
        f"{record['splits']} random halves, {record['calibration']:,} items calibrate. All halves are of one set,",
        "so this is evidence of the computation, not of other pictures.",
        "",
        *_coverage(record),
        "",
        *_sizes(record),
        "",
        *_noisy(record),
        "",
        *_predictors(record),
    ]


def findings(record: Record) -> list[str]:
    """Write the findings of the section, a sentence or two each."""
    smooth = [levels for levels in record["scores"].values() if levels["tied"] < _FEW_TIES]
    tests = [levels[alpha] for levels in smooth for alpha in record["sizes"]]
    within = sum(one["within"] for one in tests)
    orders = [_is_published(sizes) for sizes in record["sizes"].values()]
    noisy = {f"{one['accuracy']:.0%}": _is_published(one["sizes"]) for one in record["noisy"]}
    like, unlike = (", ".join(name for name, holds in noisy.items() if holds is wanted) for wanted in (True, False))
    coverage = f"Mean coverage lies in the theory's band for {within} of {len(tests)} pairs of a score without ties"
    order = f"The published order of sizes, {' < '.join(_PUBLISHED_ORDER)}, holds at {sum(orders)} of {len(orders)}"
    logits = f"levels on the traffic-sign logits (accuracy {record['accuracy']:.1%}), with noise added to them at an"
    return [
        f"{coverage} and a level; a score with ties covers more, as it may.",
        f"{order} {logits} accuracy of {like or 'none'} and not at {unlike or 'none'}.",
    ]


def _is_published(sizes: dict[str, float]) -> bool:
    return all(sizes[left] < sizes[right] for left, right in pairwise(_PUBLISHED_ORDER))


def _coverage(record: Record) -> list[str]:
    names = "score", "alpha", "coverage", "band", "within", "sd / law's sd", "KS p", "KS p of more"
    lines = head(*names, "size", "empty", "CovGap", "SSCV")
    for name, levels in record["scores"].items():
        lines += [_level(name, alpha, levels[alpha], levels["tied"]) for alpha in record["sizes"]]
    smooth = {name: levels for name, levels in record["scores"].items() if levels["tied"] < _FEW_TIES}
    tests = [levels[alpha] for levels in smooth.values() for alpha in record["sizes"]]
    tied = {name: levels["tied"] for name, levels in record["scores"].items() if name not in smooth}
    small, few = (sum(one[key] < 0.05 for one in tests) for key in ("ks_p_value", "ks_p_value_of_more"))
    return [
        "Band: 1 - alpha to 1 - alpha + 1/(n + 1), three standard deviations of the mean wider. KS: hits of each half",
        "against Beta-Binomial, made continuous by a random number of each half; once more for",
        f"{record['more_splits']:,} other halves. CovGap in percent.",
        "",
        *lines,
        "",
        f"Without ties, {sum(one['within'] for one in tests)} of {len(tests)} means lie within the band. {small} KS",
        f"p-values over {record['splits']} halves and {few} over {record['more_splits']:,} are below 0.05, where",
        f"{0.05 * len(tests):.1f} are expected each time; the scores share items and halves, so they go together.",
        *(
            f"{name} has {share:.1%} tied scores (the best label's is 0 always): coverage is then above the band,\n"
            "of which only the lower end is promised."
            for name, share in tied.items()
        ),
    ]


def _level(name: str, alpha: str, one: Record, tied: float) -> str:
    band = f"{one['band'][0]:.4f} to {one['band'][1]:.4f}"
    spread = f"{one['deviation']:.4f} / {one['deviation_of_law']:.4f}"
    above = tied >= _FEW_TIES and one["coverage"] > one["band"][1]
    within = "yes" if one["within"] else "above, ties" if above else "NO"
    tests = f"{one['ks_p_value']:.2f}", f"{one['ks_p_value_of_more']:.2f}"
    figures = f"{one['size']:.3f}", f"{one['empty']:.1%}", f"{one['gap']:.2f}", f"{one['sscv']:.3f}"
    return row(name, alpha, f"{one['coverage']:.4f}", band, within, spread, *tests, *figures)


def _sizes(record: Record) -> list[str]:
    lines = head("alpha", *_PUBLISHED_ORDER, "as published", "order found")
    lines += [row(alpha, *_order(sizes)) for alpha, sizes in record["sizes"].items()]
    beyond = 1 - record["accuracy"]
    thr = record["scores"]["THR"]
    empty = {alpha: thr[alpha]["empty"] for alpha in record["sizes"]}
    return [
        "Average size. The authors of RAPS publish THR < RAPS < TopK < APS for ImageNet at alpha 0.1:",
        "",
        *lines,
        "",
        f"The classifier errs on {beyond:.1%}, so at any larger alpha even one label each is more than is asked for.",
        "Sets are then empty where the classifier is least sure, and a mean size is that of an abstention rate:",
        f"THR leaves {', '.join(f'{share:.1%} empty at {alpha}' for alpha, share in empty.items())}.",
        "Empty sets are legal; they can be filled with the best label, which only adds coverage (below).",
    ]


def _order(sizes: dict[str, float]) -> list[str]:
    """Sizes in the published order, whether they grow along it, and the order that they have."""
    values = [sizes[name] for name in _PUBLISHED_ORDER]
    found = " < ".join(sorted(_PUBLISHED_ORDER, key=lambda name: sizes[name]))
    return [*(f"{value:.3f}" for value in values), "yes" if _is_published(sizes) else "no", found]


def _noisy(record: Record) -> list[str]:
    lines = head("noise", "accuracy", "temperature", *_PUBLISHED_ORDER, "as published", "order found")
    for one in record["noisy"]:
        figures = f"{one['deviation']}", f"{one['accuracy']:.1%}", f"{one['temperature']}"
        lines.append(row(*figures, *_order(one["sizes"])))
    return [
        "Synthetic: the same logits with Gaussian noise of a standard deviation added, so that the classifier errs as",
        "often as those of ImageNet about, and less and more often; alpha 0.1, 20 halves, RAPS with the same penalty.",
        "",
        *lines,
    ]


def _predictors(record: Record) -> list[str]:
    lines = head("method", "coverage", "mean over classes", "size", "empty", "CovGap", "SSCV")
    for name, one in record["predictors"].items():
        shares = f"{one['coverage']:.4f}", f"{one['macro']:.4f}", f"{one['size']:.3f}", f"{one['empty']:.1%}"
        lines.append(row(name, *shares, f"{one['gap']:.2f}", f"{one['sscv']:.3f}"))
    return ["Methods for classes at alpha 0.1, means over 20 halves:", "", *lines]
