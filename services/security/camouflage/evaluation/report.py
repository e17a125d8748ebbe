"""report.md out of the figures: tables, and what they may be read as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.security.camouflage.evaluation.cells import HEADS, Figures, columns, ranges, span, table
from services.security.camouflage.evaluation.defence import write_defence
from services.security.camouflage.evaluation.experiments import (
    COVERT,
    PAINT,
    PAINTS,
    VICTIM,
)
from services.security.camouflage.evaluation.report_texts import DEFENCE, HEAD, RENDERER
from services.security.camouflage.evaluation.running import MADE_AGAINST, RESULT, START
from services.security.camouflage.reporting.report import THRESHOLDS

REPORT: Final = Path(__file__).parents[1] / "report.md"
WANTED: Final = 0.85
"""AP50 that detectors are to have before any attack, so that there is something to lose."""


def write_report(figures: Figures, path: Path = REPORT) -> None:
    """Write the page of all figures that there are."""
    path.write_text("\n\n".join(_parts(figures)) + "\n", encoding="utf-8")


def _parts(figures: Figures) -> Iterator[str]:
    yield HEAD
    yield RENDERER
    for number, found in enumerate(figures.values()):
        yield _scale(found)
        yield from _sections(found)
        if not number and found["defence"] is None:
            yield DEFENCE
        yield from _costs(found)
        if found["missing"]:
            yield _missing(found["missing"])


def _scale(found: Figures) -> str:
    scale = found["scale"]
    return (
        f"## {scale['steps']} steps of {scale['batch']} pictures\n\n"
        f"Pictures of {scale['side']} pixels, textures of {scale['texture_side']}, {scale['scenes']} cameras to draw "
        f"from, seed {scale['seed']}. The grid has {scale['azimuths']} azimuths, three elevations and two distances; "
        f"where only one kind of condition is unseen there are {scale['factor_shots']} pictures. Backgrounds: "
        f"{found['backgrounds']}. Machine: {'; '.join(found['machines'])}, shared with other work."
    )


def _sections(found: Figures) -> Iterator[str]:
    if found["detectors"]:
        yield _before(found["detectors"])
    covers = dict.fromkeys(arm["cover"] for arm in found["arms"])
    for cover in covers:
        yield _arms(found["arms"], cover)
    if found["differences"]:
        yield _verdicts(found["differences"])
    if any(row["texture"] == RESULT for row in found["factors"]):
        yield _factors(found["factors"])
    yield from _bins(found["arms"])
    if found["renderers"]:
        yield _renderers(found["renderers"])
    if found["defence"]:
        yield write_defence(found["defence"])


def _before(cars: Figures) -> str:
    rows, short = [], []
    for car, one in cars.items():
        for name, detector in one["detectors"].items():
            figures = detector["figures"]
            reached = _first(figures)["ap50"]["value"] >= WANTED
            short += [] if reached else [f"{name} on the {car}"]
            rows.append((car, name, str(one["pictures"]), *columns(figures)[:4], "yes" if reached else "no"))
    verdict = f"Not reached: {', '.join(short)}; figures of attacks on it say less." if short else "All reach it."
    return (
        "### Detectors before any attack\n\nEvery picture of the grid with a plain paint of its own, of any colour. "
        f"Wanted: an AP50 of {WANTED}. {verdict}\n\n"
        + table(("car", "detector", "pictures", *HEADS[:4], f"AP50 >= {WANTED}"), rows)
    )


def _arms(arms: Sequence[Figures], cover: str) -> str:
    here = [arm for arm in arms if arm["cover"] == cover]
    share = 100 * here[0]["share"]
    title = "Full cover" if cover == "full" else f"Stickers on {share:.1f} % of the painted surface"
    parts = [f"### {title}"]
    for detector in dict.fromkeys(name for arm in here for name in arm["detectors"]):
        rows = [row for group in _grouped(here) if (row := _row(group, detector)) is not None]
        head = ("texture", *HEADS, "CIEDE2000", "LPIPS", "NPS", "TV")
        parts.append(f"Seen by **{detector}**:\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _grouped(arms: Sequence[Figures]) -> list[tuple[str, list[Figures]]]:
    """Arms by the name of their row; alike ones share one."""
    groups: dict[str, list[Figures]] = {}
    for arm in arms:
        groups.setdefault(_named(arm), []).append(arm)
    return list(groups.items())


def _named(arm: Figures) -> str:
    texture = arm["texture"]
    if arm["pattern"] is None:
        if texture == PAINT:
            return f"plain {PAINT}"
        if texture in PAINTS:
            return f"plain, {len(PAINTS) - 1} other colours"
        return "random, 4 textures" if texture.startswith("random") else str(texture)
    covert = "" if arm["covert"] == "none" else f", covert {COVERT[arm['covert']]:g}"
    if texture == START:
        return f"`{arm['pattern']}` before the first step"
    if texture.startswith(MADE_AGAINST):
        return f"`{arm['pattern']}`{covert} {texture}"
    return f"**`{arm['pattern']}`{covert} against {arm['victim']}**"


_COVERTNESS: Final = {"ciede2000": 1, "lpips": 3, "printable": 3, "variation": 3}
"""Digits of the measures, in the order of their columns."""


def _row(group: tuple[str, list[Figures]], detector: str) -> tuple[str, ...] | None:
    name, arms = group
    arms = [arm for arm in arms if detector in arm["detectors"]]
    if not arms:
        return None
    if START in {arm["texture"] for arm in arms}:
        arms = arms[:1]  # The same texture whatever it is then optimised for.
    shown = [_mean([arm["covertness"][key] for arm in arms], digits) for key, digits in _COVERTNESS.items()]
    if len(arms) == 1:
        return (name, *columns(arms[0]["detectors"][detector]["figures"]), *shown)
    return (name, *ranges([arm["detectors"][detector]["figures"] for arm in arms]), *shown)


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [one for one in values if one is not None]
    return f"{np.mean(known):.{digits}f}" if known else "-"


def _verdicts(differences: Sequence[Figures]) -> str:
    """Each result against the texture of its cover that hides the car best without being optimised."""
    rows = []
    keys = ("victim", "pattern", "cover", "covert", "detector", "threshold")
    groups: dict[tuple[Any, ...], list[Figures]] = {}
    for one in differences:
        groups.setdefault(tuple(one[key] for key in keys), []).append(one)
    for (victim, pattern, cover, covert, detector, threshold), there in groups.items():
        best = max(there, key=lambda one: one["value"])
        kind = "white box" if victim == detector else "transfer"
        verdict = "hides better" if best["high"] < 0 else "hides worse" if best["low"] > 0 else "not told apart"
        shown = f"{best['value']:+.3f} ({best['low']:+.3f} to {best['high']:+.3f})"
        seen = f"{detector}, {kind}"
        less = f"`{pattern}` before the first step" if best["less"] == START else best["less"]
        rows.append((f"`{pattern}`", cover, covert, victim, seen, f"{threshold:g}", less, shown, verdict))
    head = (
        "pattern",
        "cover",
        "covert",
        "against",
        "seen by",
        "score",
        "best that nobody optimised",
        "rate less its",
        "",
    )
    return (
        "### Is it more than paint?\n\nA result is one only if it beats every texture of its area that nobody "
        "optimised, the best of which was picked on this very grid. Pictures are compared in pairs; the pattern "
        f"before its first step is among the others.\n\n{table(head, rows)}"
    )


_FACTORS: Final = {
    "nothing": "nothing",
    "views": "views",
    "lights": "lights",
    "backgrounds": "backgrounds",
    "all": "all (the grid)",
}


def _factors(factors: Sequence[Figures]) -> str:
    rows = []
    for row in factors:
        name = f"plain {PAINT}" if row["texture"] == PAINT else f"`{row['pattern']}`, {row['cover']}, {row['covert']}"
        for threshold in THRESHOLDS:
            rates = [span(row["figures"][unseen][f"{threshold:g}"]["detection_rate"]) for unseen in _FACTORS]
            rows.append((name, row["detector"], f"{threshold:g}", *rates))
    return (
        "### What is unseen\n\nDetection rate of the victim where only one kind of condition is unseen; columns but "
        "the last have few pictures. Cameras of steps stand anywhere in their ranges, those of *views* and *all* at "
        "places of the grid: a texture is compared with plain paint within a column.\n\n"
        + table(("texture", "victim", "score", *_FACTORS.values()), rows)
    )


def _bins(arms: Sequence[Figures]) -> Iterator[str]:
    for arm in arms:
        chosen = (arm["texture"], arm["cover"], arm["covert"], arm["victim"]) == (RESULT, "full", "none", VICTIM)
        bins = arm["detectors"].get(VICTIM, {}).get("bins") if chosen else None
        if bins:
            lines = [
                f"- {name.split('_')[0]}: " + ", ".join(_bin(name, *one) for one in there)
                for name, there in bins.items()
                if name != "background"
            ]
            yield (
                f"### Where `{arm['pattern']}` hides the car from {VICTIM}\n\nDetection rate at {THRESHOLDS[0]}, full "
                "cover.\n\n" + "\n".join(lines)
            )


def _bin(axis: str, name: str, pictures: int, rate: float) -> str:
    """One place of an axis; azimuths of the grid are where their bins begin."""
    return f"{name.split(' to ', maxsplit=1)[0] if axis == 'azimuth_degrees' else name}: {rate:.2f} (of {pictures})"


def _renderers(rendered: Sequence[Figures]) -> str:
    rows: dict[tuple[str, ...], tuple[str, ...]] = {}
    for one in rendered:
        for renderer, detectors in one["renderers"].items():
            for detector, textures in detectors.items():
                for name, figures in textures.items():
                    texture = f"`{one['pattern']}`" if name == RESULT else f"plain {name}"
                    where = (texture, renderer, detector)
                    rows[where] = (*where, str(one["pictures"]), *columns(figures))
    difference = max(one["difference"] for one in rendered)
    return (
        "### A renderer that no step has seen\n\nViews of the grid on level ground under an even sky, by Mitsuba and "
        "by the renderer here, so that rows of one texture differ by the renderer alone, and rows above by the "
        f"background, too. Mean difference of sRGB on the car: {difference:.3f}, where it is largest.\n\n"
        + table(("texture", "renderer", "seen by", "pictures", *HEADS), [rows[where] for where in sorted(rows)])
    )


def _costs(found: Figures) -> Iterator[str]:
    if found["runs"]:
        rows = [
            (
                f"`{one['pattern']}`, {one['cover']}, {one['covert']}, {one['victim']}",
                f"{one['steps']}" + (f" (ended: {one['ended']})" if one["ended"] else ""),
                f"{1 / one['cpu_s_per_step']:.2f}" if one["cpu_s_per_step"] else "-",
                f"{1 / one['wall_s_per_step']:.2f}" if one["wall_s_per_step"] else "-",
                f"{one['peak_mib']:.0f}",
                f"{one['first']['hide']:.3f} to {one['last']['hide']:.3f}" if one["first"] else "-",
            )
            for one in found["runs"]
        ]
        head = (
            "run",
            "steps",
            "steps a CPU second",
            "steps a second",
            "peak MiB",
            "hide loss, first and last ten steps",
        )
        yield (
            "### Time and memory\n\nCPU seconds leave out what other work took of the machine. Peaks are of the whole "
            f"evaluation with all of its detectors and pictures.\n\n{table(head, rows)}"
        )
    if found["profiles"]:
        parts = list(_first(found["profiles"])["parts_s"])
        rows = [
            (victim, f"{1000 * one['step_s']:.0f}", *(_share(one["parts_s"][part] / one["step_s"]) for part in parts))
            for victim, one in found["profiles"].items()
        ]
        yield (
            "A step of `pixels`, in CPU milliseconds and shares. Frames are of cameras that were drawn before or "
            "come new; backward goes through victim, camera and renderer.\n\n"
            + table(("victim", "step, ms", *parts), rows)
            + "\n\nA run that was killed goes on from its state and ends at the texture of an unbroken one, bit for "
            "bit on the same machine with the same threads: `optimisation/test_run.py`, and for the job "
            "`optimisation/test_jobs.py`."
        )


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _missing(missing: Sequence[Figures]) -> str:
    by_reason: dict[str, list[str]] = {}
    for one in missing:
        by_reason.setdefault(one["reason"], []).append(f"`{one['name']}`")
    lines = [f"- {reason}: {', '.join(names)}" for reason, names in by_reason.items()]
    return "### Not measured\n\n" + "\n".join(lines)


def _first(found: Figures) -> Any:
    return next(iter(found.values()))
