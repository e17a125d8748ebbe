"""Figures out of finished runs, as evaluation.json keeps them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from services.security.caption_attack.evaluation.experiments import (
    COMPARISONS,
    MAIN,
    Comparison,
    Setting,
    setting_of,
)
from services.security.caption_attack.reporting.statistics import (
    compare_corpora,
    median_queries,
    paired_difference,
    success_curve,
    success_rate,
)
from services.security.caption_attack.searching.arms import ARMS
from services.security.caption_attack.searching.objectives import GOALS, Objective, SuccessGoals
from shared.captions.bleu import sentence_bleu
from shared.captions.words import split_words
from shared.datasets.captioned_photos import CaptionedPhotos

Line = Mapping[str, Any]
EXAMPLES = 20


def summarise(lines: Sequence[Line], photographs: CaptionedPhotos, *, quality: Mapping[str, Any]) -> dict[str, Any]:
    """All figures.

    Args:
        lines: of finished runs.
        photographs: that were attacked.
        quality: of the captioners, by name, from their cards.
    """
    victims = list(dict.fromkeys(line["victim"] for line in lines))
    own = [line for line in lines if line["victim"] == line["guide"]]
    return {
        "runs": len(lines),
        "queries": sum(line["spent"] for line in lines),
        "hours": round(sum(line["seconds"] for line in lines) / 3600, 2),
        "machines": sorted({line["machine"] for line in lines}),
        "quality": dict(quality),
        "victims": {victim: _victim(own, victim, photographs) for victim in victims},
        "guidance": [_guidance(lines, victim, victims[0]) for victim in victims[1:]],
        "shown": list(_shown(lines)),
    }


def _victim(own: Sequence[Line], victim: str, photographs: CaptionedPhotos) -> dict[str, Any]:
    lines = [line for line in own if line["victim"] == victim]
    main = [line for line in lines if _setting(line) == MAIN]
    return {
        "models": sorted({line["model"] for line in lines}),
        "comparisons": [_compare(lines, one) for one in COMPARISONS if one.setting in map(_setting, lines)],
        "defences": list(_defences(main)),
        "corpus": _corpus(main, photographs),
        "examples": _examples(lines, photographs),
    }


def _setting(line: Line) -> Setting:
    return Setting(**line["setting"])


def _compare(lines: Sequence[Line], comparison: Comparison) -> dict[str, Any]:
    """All searches of a comparison, on the photographs and seeds that all of them were tried on."""
    by_arm: dict[str, dict[tuple[int, int], Line]] = {arm: {} for arm in comparison.arms}
    for line in lines:
        arm = line["arm"]
        if arm in by_arm and _setting(line) == setting_of(arm, comparison.setting):
            by_arm[arm][line["photograph"], line["seed"]] = line
    tried = [arm for arm, found in by_arm.items() if found]
    shared = sorted(set.intersection(*(set(by_arm[arm]) for arm in tried)))
    first = [by_arm[comparison.arms[0]][key] for key in shared] if shared else []
    return {
        "title": str(comparison),
        "percent": comparison.setting.percent,
        "bound": comparison.setting.bound,
        "photographs": len({photograph for photograph, _ in shared}),
        "seeds": len({seed for _, seed in shared}),
        "runs": len(shared),
        "left_out": [arm for arm in comparison.arms if arm not in tried],
        "arms": [_arm(arm, [by_arm[arm][key] for key in shared], first) for arm in tried] if shared else [],
    }


def _arm(arm: str, lines: Sequence[Line], first: Sequence[Line]) -> dict[str, Any]:
    queries = list(range(0, 125, 5))
    reached = {goal: [line["reached"].get(goal) for line in lines] for goal in GOALS if goal != "target_word"}
    photographs = len({line["photograph"] for line in lines})
    return {
        "arm": arm,
        "title": ARMS[arm].title,
        "queries": fmean(line["queries"] for line in lines),
        "score": fmean(line["score"] for line in lines),
        "first_less_this": asdict(paired_difference(_by_photograph(first), _by_photograph(lines))),
        "goals": {goal: _rate(found, photographs) for goal, found in reached.items()},
        "median_queries": {goal: median_queries(found).of_successes for goal, found in reached.items()},
        "curve": {"queries": queries, "score_halved": success_curve(reached["score_halved"], queries)},
        "l0": fmean(line["distances"]["l0"] for line in lines),
        "l2": fmean(line["distances"]["l2"] for line in lines),
        "ssim": fmean(line["distances"]["ssim"] for line in lines),
    }


def _rate(first_successes: Sequence[int | None], photographs: int) -> dict[str, Any]:
    """A share of runs, as uncertain as if seeds of a photograph said the same."""
    return asdict(success_rate(first_successes, pictures=photographs))


def _by_photograph(lines: Iterable[Line]) -> list[float]:
    """Mean score over seeds of each photograph, in their order."""
    scores: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        scores[line["photograph"]].append(line["score"])
    return [fmean(scores[photograph]) for photograph in sorted(scores)]


def _defences(main: Sequence[Line]) -> Iterable[dict[str, Any]]:
    """What each filter leaves of each search's successes, and what it costs on clean photographs."""
    tried: dict[tuple[str, str], list[tuple[Line, Line]]] = defaultdict(list)
    for line in main:
        for one in line.get("defences", ()):
            tried[line["arm"], one["defence"]].append((line, one))
    for (arm, defence), pairs in sorted(tried.items()):
        successes = [(line, one) for line, one in pairs if "content_lost" in line["reached"]]
        yield {
            "arm": arm,
            "defence": defence,
            "pictures": len(pairs),
            "score_without": fmean(line["score"] for line, _ in pairs),
            "score_behind": fmean(one["changed_score"] for _, one in pairs),
            "clean_score_behind": fmean(one["clean_score"] for _, one in pairs),
            "successes": len(successes),
            "remaining": sum("content_lost" in one["goals"] for _, one in successes),
        }


def _corpus(main: Sequence[Line], photographs: CaptionedPhotos) -> dict[str, Any]:
    """Metrics against people's captions before and after search A, of the first seed."""
    lines = sorted((one for one in main if one["arm"] == "A" and one["seed"] == 0), key=lambda one: one["photograph"])
    if not lines:
        return {}
    references = [photographs.captions[line["photograph"]] for line in lines]
    found = compare_corpora([line["clean"] for line in lines], [line["caption"] for line in lines], references)
    return {name: asdict(change) for name, change in found.items()}


def _examples(lines: Sequence[Line], photographs: CaptionedPhotos) -> list[dict[str, Any]]:
    """Clean captions of the first photographs, not chosen."""
    clean = {line["photograph"]: line["clean"] for line in lines}
    found = []
    for photograph in sorted(clean)[:EXAMPLES]:
        people = photographs.captions[photograph]
        bleu = sentence_bleu(split_words(clean[photograph]), [split_words(one) for one in people])[-1]
        found.append({"caption": clean[photograph], "people": people[0], "BLEU-4": round(bleu, 3)})
    return found


def _guidance(lines: Sequence[Line], victim: str, guide: str) -> dict[str, Any]:
    """Attacks on one captioner where another one says where to look."""
    main = [line for line in lines if line["victim"] == victim and _setting(line) == MAIN]
    groups = {
        "other": {(one["photograph"], one["seed"]): one for one in main if one["guide"] == guide},
        "own": _of_search(lines, victim),
        "any": {(one["photograph"], one["seed"]): one for one in main if one["guide"] == victim and one["arm"] == "C"},
        "first": _of_search(lines, guide),
    }
    shared = sorted(set.intersection(*map(set, groups.values())))
    found: dict[str, Any] = {"victim": victim, "guide": guide, "runs": len(shared)}
    if shared:
        scores = {name: _by_photograph(group[key] for key in shared) for name, group in groups.items()}
        found |= {name: fmean(values) for name, values in scores.items()}
        found["other_less_own"] = asdict(paired_difference(scores["other"], scores["own"]))
        found["own_less_first"] = asdict(paired_difference(scores["own"], scores["first"]))
        found["other_less_any"] = asdict(paired_difference(scores["other"], scores["any"]))
    return found


def _of_search(lines: Sequence[Line], victim: str) -> dict[tuple[int, int], Line]:
    """Runs of search A on a captioner in the main setting, where that one itself says where to look."""
    found = (one for one in lines if one["victim"] == one["guide"] == victim and one["arm"] == "A")
    return {(one["photograph"], one["seed"]): one for one in found if _setting(one) == MAIN}


def _shown(lines: Iterable[Line]) -> Iterable[dict[str, Any]]:
    """What other captioners say of pictures that A found on the first one, and of an unselected draw at its pixels."""
    scores: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for victim, said in line.get("shown", {}).items():
            goals = SuccessGoals(clean=[said["clean"]], clean_score=1.0)
            for which in ("drawn", "found"):
                score = Objective(references=[said["clean"]]).score(said[which])
                reached = goals.reached([said[which]], score)
                scores[victim][which].append({"photograph": line["photograph"], "score": score, "reached": reached})
    for victim, kinds in scores.items():
        photographs = len({one["photograph"] for one in kinds["found"]})
        found: dict[str, Any] = {"victim": victim, "pictures": len(kinds["found"]), "photographs": photographs}
        for which, tried in kinds.items():
            found[which] = {"score": fmean(one["score"] for one in tried)}
            for goal in ("caption_differs", "content_lost"):
                successes = [1 if goal in one["reached"] else None for one in tried]
                found[which][goal] = _rate(successes, photographs)
        difference = paired_difference(_by_photograph(kinds["found"]), _by_photograph(kinds["drawn"]))
        yield found | {"found_less_drawn": asdict(difference)}
