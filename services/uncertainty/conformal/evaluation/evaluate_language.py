"""Sets of sampled texts, simulated: whether the risk is controlled, and what it costs.

No language model is run. A prompt has twelve possible answers, some admissible; texts are drawn among them, texts of
one answer are similar, and a quality says with noise which are admissible.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.uncertainty.conformal.evaluation.airfoil import summary
from services.uncertainty.conformal.evaluation.report import Record, head, row
from services.uncertainty.conformal.methods.language.sampled_sets import (
    Bounds,
    Samples,
    TunedBounds,
    predict_text_sets,
    tune,
    validate,
)
from services.uncertainty.conformal.methods.language.set_scores import SetScore

ALPHA, DELTA = "0.35", "0.1"
ANSWERS, DRAWN = 12, 20
TUNING, TESTING, POPULATION = 200, 400, 3000
GRID = 6
TRIALS = 200


def prompts(count: int, random: np.random.Generator) -> Samples:
    """Generated prompts with twenty texts each; for about one in five, none is admissible."""
    ease = 0.05 + 0.45 * random.beta(1.2, 1.5, (count, 1))
    right = random.random((count, ANSWERS)) < ease
    chances = random.dirichlet(np.full(ANSWERS, 0.6), count).cumsum(axis=1)
    answers = (chances[:, None, :-1] < random.random((count, DRAWN, 1))).sum(axis=2)
    admissible = np.take_along_axis(right, answers, axis=1)
    qualities = 1 / (1 + np.exp(np.where(admissible, -1.2, 1.2) - random.normal(size=(count, DRAWN))))
    same = answers[:, :, None] == answers[:, None, :]
    noise = 0.05 * random.normal(size=same.shape)
    return Samples.of(qualities, np.where(same, 0.9, 0.2) + noise, admissible)


def measure(data: Path, *, trials: int = TRIALS) -> Record:
    """How often the risk is above alpha over trials that tune and test anew; everything is generated.

    Args:
        data: not needed.
        trials: of each score, 2 or more.
    """
    population = prompts(POPULATION, np.random.default_rng(1))
    everything = predict_text_sets(population, Bounds(np.inf, -np.inf, np.inf), SetScore.SUM)
    return {
        "trials": trials,
        "all drawn": {"risk": float(everything.misses(population.admissible).mean()), "cost": everything.cost},
        "scores": {score.value: _trials(score, population, trials) for score in SetScore},
    }


def _trials(score: SetScore, population: Samples, trials: int) -> Record:
    tested, naive = [], []
    for trial in range(trials):
        random = np.random.default_rng([2, trial])
        tuned = tune(prompts(TUNING, random), score, grid=GRID)
        samples = prompts(TESTING, random)
        found = validate(samples, tuned, ALPHA, delta=DELTA)
        if found.chosen is not None:
            tested.append(_outcome(found.chosen, score, population))
        naive.append(_outcome(_by_eye(samples, tuned), score, population))
    return {"unsolved": trials - len(tested), "tested": _summary(tested, trials), "by eye": _summary(naive, trials)}


def _by_eye(samples: Samples, tuned: TunedBounds) -> Bounds:
    """The cheapest bounds whose share of misses is at most alpha, without a test."""
    shares = [predict_text_sets(samples, one, tuned.score).misses(samples.admissible).mean() for one in tuned.bounds]
    return tuned.bounds[int(np.argmin(np.where(np.array(shares) <= float(ALPHA), tuned.costs, np.inf)))]


def _outcome(bounds: Bounds, score: SetScore, population: Samples) -> tuple[float, float, float]:
    sets = predict_text_sets(population, bounds, score)
    risk = float(sets.misses(population.admissible).mean())
    return risk, float(sets.kept.sum(axis=1).mean()), float(sets.drawn.mean())


def _summary(outcomes: list[tuple[float, float, float]], trials: int) -> Record:
    risks, sizes, drawn = np.array(outcomes).reshape(-1, 3).T
    above = float((risks > float(ALPHA)).sum() / trials)
    return {"above": above, "risk": summary(risks), "size": summary(sizes), "drawn": summary(drawn)}


def render(record: Record) -> list[str]:
    """The section of the report."""
    lines = head(
        "score", "risk above alpha", "mean risk", "kept", "drawn", "chosen by eye: risk above alpha", "no bounds"
    )
    for name, one in record["scores"].items():
        means = (f"{one['tested'][figure]['mean']:.3f}" for figure in ("risk", "size", "drawn"))
        lines.append(
            row(name, f"{one['tested']['above']:.1%}", *means, f"{one['by eye']['above']:.1%}", str(one["unsolved"]))
        )
    lowest = record["all drawn"]["risk"]
    return [
        "## Sets of sampled texts",
        "",
        f"Simulated, no language model is run: {DRAWN} texts of each prompt. The risk that no kept text is",
        f"admissible is to be at most {ALPHA} with probability 1 - {DELTA}; it is {lowest:.3f} with all texts.",
        f"In each of {record['trials']} trials {TUNING} prompts tune and {TESTING} test; the risk is that of",
        f"{POPULATION:,} others. By eye: the cheapest tuned bounds whose share of misses in the testing prompts is",
        "at most alpha, without a test.",
        "",
        *lines,
    ]


def findings(record: Record) -> list[str]:
    """Write the findings of the section, a sentence or two each."""
    tested, naive = ([one[way]["above"] for one in record["scores"].values()] for way in ("tested", "by eye"))
    above = f"in at most {max(tested):.1%} of the trials of any score ({float(DELTA):.0%} allowed)"
    careless = f"{min(naive):.0%} to {max(naive):.0%} where bounds are chosen by eye"
    return [f"Sets of sampled texts, simulated: the risk is above alpha {above}, in {careless}."]
