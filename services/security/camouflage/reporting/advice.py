"""What the owner of a detector can do about what was found. Every sentence follows from numbers of the report."""

from __future__ import annotations

from collections.abc import Iterator

from services.security.camouflage.reporting.report import PLAIN, RESULT, THRESHOLDS, CamouflageReport, RateLine

_CLEAN = 0.8
"""Detection rate of plain paint below which a test says little."""


def advise(report: CamouflageReport) -> list[str]:
    """Advice, the most important first; at least one sentence."""
    return list(_lines(report))


def _lines(report: CamouflageReport) -> Iterator[str]:
    lines = {(one.detector, one.texture): one for one in report.rates if one.threshold == THRESHOLDS[0]}
    if not lines:
        yield "Nothing was measured: " + (report.stopped or "no condition shows enough of the car; lower the distance.")
        return
    weakened = False
    for used in report.detectors:
        name = used.name
        if used.silent is not None:
            yield f"{name} was not asked to the end: {used.silent} Its figures are of what it answered before."
        if (name, PLAIN) not in lines:
            continue
        plain, result = lines[name, PLAIN], lines[name, RESULT]
        if plain.rate < _CLEAN:
            yield (
                f"{name} finds the plain car on {_percent(plain.rate)} of the pictures only: it is too weak here for "
                "this test to say much. Train it on such pictures first."
            )
        random = lines[name, "random"]
        if result.high < min(plain.low, random.low):
            weakened = True
            yield (
                f"{name} finds the car on {_percent(result.rate)} of the pictures with the result, "
                f"{_percent(plain.rate)} with plain paint and {_percent(random.rate)} with a random texture of the "
                "same area: what was optimised matters, not that the paint is unusual."
            )
        elif random.high < plain.low:
            weakened = True
            yield (
                f"{name} degrades under any texture ({_percent(random.rate)} with a random one, {_percent(plain.rate)} "
                "with plain paint): it has seen too few paints."
            )
        yield from _about_grey(name, plain, lines[name, "grey"])
    if weakened:
        yield (
            "Fine-tune with texture randomisation: hardening-set.zip holds the car under the result and under random "
            "textures with COCO labels. Post it beside your own labelled pictures as `source` to "
            "/v1/perception/adaptations, or train elsewhere with it; then run the same plan with another seed on the "
            "new version, and measure both on your own held-out pictures."
        )
        yield "Decide nothing on one frame: most conditions of the grid differ, so tracks over frames lose less."
    else:
        yield (
            "No loss beyond the intervals was found with this plan. More steps, another pattern, a larger cover or "
            "more scenes may find one; absence here is no proof."
        )


def _about_grey(name: str, plain: RateLine, grey: RateLine) -> Iterator[str]:
    if grey.high < plain.low:
        yield (
            f"A plain cover of the same area alone takes {name} to {_percent(grey.rate)}: much of the loss is "
            "the area, not the pattern."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
