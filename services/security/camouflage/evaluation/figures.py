"""All figures out of the lines of results: what the report states, and nothing beside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.evaluation.experiments import (
    HARDENED,
    NOBODY,
    PAINT,
    VICTIM,
    Experiment,
    Scale,
    experiments,
)
from services.security.camouflage.evaluation.running import NOT_MADE, RESULT, START
from services.security.camouflage.reporting.report import THRESHOLDS
from shared.intervals import LEVEL

FIGURES: Final = Path(__file__).parent / "figures.json"

_RESAMPLES: Final = 2000

Line = Mapping[str, Any]
Figures = dict[str, Any]


def summarise(lines: Iterable[Line], *, has_prior: bool) -> Figures:
    """Figures by scale, the one with the most lines first.

    Args:
        lines: results; of several of one key the last one counts.
        has_prior: whether the diffusion model is there, for what is said of arms that are not.
    """
    by_key = {line["key"]: line for line in lines}
    by_scale: dict[str, list[Line]] = {}
    for line in by_key.values():
        by_scale.setdefault(Scale(**line["scale"]).name, []).append(line)
    ordered = sorted(by_scale.items(), key=lambda one: -len(one[1]))
    return {name: _of_scale(there, has_prior=has_prior) for name, there in ordered}


def write_figures(figures: Figures, path: Path = FIGURES) -> None:
    """Write them all to a file, with four digits."""
    rounded = json.loads(json.dumps(figures), parse_float=lambda text: round(float(text), 4))
    path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def _of_scale(lines: Sequence[Line], *, has_prior: bool) -> Figures:
    parts: dict[str, list[Line]] = {}
    for line in lines:
        parts.setdefault(line["part"], []).append(line)
    unoptimised = _joined(parts.get("unoptimised", []), "cover")
    attacks = parts.get("attack", [])
    distances = {_arm_of(line): line["lpips"] for line in parts.get("lpips", [])}
    return {
        "scale": lines[0]["scale"],
        "backgrounds": lines[0]["backgrounds"],
        "machines": sorted({line["machine"] for line in lines}),
        "detectors": {car: _before(line) for car, line in _joined(parts.get("detectors", []), "car").items()},
        "arms": [arm for line in [*unoptimised.values(), *attacks] for arm in _arms(line, distances)],
        "differences": [one for line in attacks for one in _differences(line, unoptimised.get(line["cover"]))],
        "factors": _factors(attacks, unoptimised.get("full")),
        "runs": [_run(line) for line in attacks],
        "profiles": {line["victim"]: line["profile"] for line in parts.get("profile", [])},
        "renderers": [_rendered(line) for line in parts.get("renderer", [])],
        "defence": _defence([line for line in attacks if line["victim"] == HARDENED]),
        "missing": _missing(lines, has_prior=has_prior),
    }


def _joined(lines: Sequence[Line], name: str) -> dict[str, Figures]:
    """Lines by what they are of; those of one thing, which other detectors have looked at, are one."""
    found: dict[str, Figures] = {}
    for line in lines:
        before = found.setdefault(line[name], {**line, "detectors": {}, "factors": {}})
        before["detectors"] |= line["detectors"]
        for unseen, detectors in line.get("factors", {}).items():
            before["factors"][unseen] = before["factors"].get(unseen, {}) | detectors
    return found


def _before(line: Line) -> Figures:
    """Detectors before any attack."""
    detectors = {name: {"figures": one["figures"], "bins": one["bins"]} for name, one in line["detectors"].items()}
    return {"pictures": line["pictures"], "left_out": line["left_out"], "detectors": detectors}


def _arm_of(line: Line) -> tuple[str, ...]:
    """What tells the textures of a line from those of others, and joins the parts that measured them."""
    if line["part"] == "unoptimised":
        return NOBODY, line["cover"]
    named = (line["victim"], line["cover"])
    return named if line["victim"] == NOBODY else (*named, line["pattern"], line["covert"])


def _arms(line: Line, distances: Mapping[tuple[str, ...], Mapping[str, Sequence[float]]]) -> list[Figures]:
    """Each texture of a line with the figures of all detectors."""
    attack = line["part"] == "attack"
    names = dict.fromkeys(name for textures in line["detectors"].values() for name in textures)
    lpips = distances.get(_arm_of(line), {})
    shown = [name for name in names if not attack or name not in NOT_MADE]
    return [
        {
            "texture": name,
            "pattern": line["pattern"] if attack else None,
            "victim": line["victim"] if attack else None,
            "cover": line["cover"],
            "covert": line["covert"],
            "share": line["share"],
            "detectors": {
                detector: {"figures": textures[name]["figures"], "bins": textures[name].get("bins")}
                for detector, textures in line["detectors"].items()
                if name in textures
            },
            "covertness": {
                **line["covertness"][name],
                "lpips": round(float(np.mean(lpips[name])), 3) if name in lpips else None,
            },
        }
        for name in shown
    ]


def _differences(line: Line, unoptimised: Line | None) -> list[Figures]:
    """The result less each texture that nobody optimised, on the same pictures, by detector and threshold."""
    found = []
    for detector, textures in line["detectors"].items():
        result = textures[RESULT]
        others = {name: one for name, one in textures.items() if name in (START, *NOT_MADE)}
        if unoptimised is not None and detector in unoptimised["detectors"]:
            others |= unoptimised["detectors"][detector]
        for threshold in THRESHOLDS:
            found += [
                {
                    **{name: line[name] for name in ("victim", "pattern", "cover", "covert")},
                    "detector": detector,
                    "threshold": threshold,
                    "less": name,
                    **paired_difference(result, other, threshold),
                }
                for name, other in others.items()
                if other["views"] == result["views"]
            ]
    return found


def paired_difference(first: Line, second: Line, threshold: float) -> dict[str, float]:
    """Detection rate of one texture less that of another on the same pictures, with its bootstrap interval over views.

    Args:
        first: with `scores` and `views`, the same views as the second's.
        second: likewise.
        threshold: score from which on the car counts as found.
    """
    found = [np.array(one["scores"]) >= threshold for one in (first, second)]
    change = found[0].astype(float) - found[1].astype(float)
    views = np.unique(first["views"], return_inverse=True)[1]
    drawn = _bootstrap(change, views)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": float(change.mean()), "low": float(low), "high": float(high)}


def _bootstrap(values: NDArray[np.float64], views: NDArray[np.intp]) -> NDArray[np.float64]:
    count = int(views.max()) + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)[:, views]
    return np.asarray(drawn @ values / np.maximum(drawn.sum(axis=1), 1))


def _factors(attacks: Sequence[Line], full: Line | None) -> list[Figures]:
    """Detection rates of the victim by what of the conditions is unseen; plain paint first."""
    rows = []
    if full is not None:
        for detector in next(iter(full["factors"].values())):
            by_factor = {unseen: there[detector]["figures"] for unseen, there in full["factors"].items()}
            by_factor["all"] = full["detectors"][detector][PAINT]["figures"]
            rows.append({"detector": detector, "texture": PAINT, "figures": by_factor})
    for line in attacks:
        victim = line["victim"]
        by_factor = {unseen: there[victim]["figures"] for unseen, there in line["factors"].items()}
        by_factor["all"] = line["detectors"][victim][RESULT]["figures"]
        named = {name: line[name] for name in ("pattern", "cover", "covert")}
        rows.append({"detector": victim, "texture": RESULT, **named, "figures": by_factor})
    return rows


def _run(line: Line) -> Figures:
    """What a run cost, and where its losses went."""
    trace, done = line["trace"], line["steps_done"]
    named = {name: line[name] for name in ("victim", "pattern", "cover", "covert")}
    return {
        **named,
        "steps": done,
        "ended": trace["ended"],
        "wall_s_per_step": round(trace["wall_s"] / max(1, done), 3),
        "cpu_s_per_step": round(trace["cpu_s"] / max(1, done), 3),
        "peak_mib": line["peak_mib"],
        "first": trace["points"][0] if trace["points"] else None,
        "last": trace["points"][-1] if trace["points"] else None,
    }


def _rendered(line: Line) -> Figures:
    return {
        "pattern": line["pattern"],
        "victim": line["victim"],
        "pictures": line["pictures"],
        "difference": line["difference"],
        "renderers": {
            renderer: {
                detector: {name: one["figures"] for name, one in textures.items()}
                for detector, textures in detectors.items()
            }
            for renderer, detectors in line["renderers"].items()
        },
    }


def _defence(lines: Sequence[Line]) -> Figures | None:
    """What the detector before and the fine-tuned one find of each texture; None where none was fine-tuned."""
    if not lines:
        return None
    rows = []
    for number, line in enumerate(lines):
        for name in next(iter(line["detectors"].values())):
            if name != START and (number == 0 or name not in NOT_MADE):
                found = {detector: line["detectors"][detector][name]["figures"] for detector in (VICTIM, HARDENED)}
                rows.append({"texture": name, "pattern": line["pattern"], "cover": line["cover"], "detectors": found})
    return {"record": lines[0]["hardening"], "rows": rows}


def _missing(lines: Sequence[Line], *, has_prior: bool) -> list[Figures]:
    """Planned experiments that have no line, with the reason."""
    scale = Scale(**lines[0]["scale"])
    done = {line["key"] for line in lines}
    planned = [one for one in experiments(hardened=True, reference=True) if one.key(scale) not in done]
    return [{"name": one.name, "reason": _reason(one, has_prior=has_prior)} for one in planned]


def _reason(experiment: Experiment, *, has_prior: bool) -> str:
    if experiment.part == "renderer":
        return "it needs Mitsuba (FACET_MITSUBA_PYTHON) and the texture of the attack"
    if experiment.part == "lpips":
        return "it needs the weights of LPIPS and the texture of the attack"
    if experiment.victim == HARDENED:
        return "it needs a fine-tuned detector (--hardened)"
    if experiment.pattern == "ddpm" and not has_prior:
        return "the diffusion model texture-diffusion is not released"
    return "not yet computed: `make evaluate-camouflage` goes on with it"
