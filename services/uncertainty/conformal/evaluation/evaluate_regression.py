"""Published figures of conformal regression, measured again: covariate shift on airfoil, CQR on Communities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from services.uncertainty.conformal.evaluation import airfoil, communities, published_tables
from services.uncertainty.conformal.evaluation.report import Record

AIRFOIL_REPEATS = 2000
COMMUNITIES_REPEATS = 40


def measure(
    data: Path, *, airfoil_repeats: int = AIRFOIL_REPEATS, communities_repeats: int = COMMUNITIES_REPEATS
) -> Record:
    """Measure everything; about six minutes on one core. Needs the `train` extra (scikit-learn).

    Args:
        data: the folder of data sets.
        airfoil_repeats: random splits of airfoil, 2 or more.
        communities_repeats: random splits of Communities, 2 or more.
    """
    return {
        "airfoil": airfoil.measure(published_tables.airfoil(data), repeats=airfoil_repeats),
        "communities": communities.measure(published_tables.communities(data), repeats=communities_repeats),
    }


def render(record: Record) -> list[str]:
    """The section of the report."""
    shift, crime = record["airfoil"], record["communities"]
    return [
        "## Regression under covariate shift",
        "",
        f"Airfoil self-noise, {shift['repeats']} random splits, 90 % wanted; published: Tibshirani et al. 2019, 5,000",
        "repeats. Mean over splits and its standard error; length is the median of each split, in dB.",
        f"Calibration points as good as equal under oracle weights: {_figure(shift['effective'], 1)} (published: 72).",
        "",
        *_table(shift["ways"], digits=2),
        "",
        "## Conformalized quantile regression",
        "",
        f"Communities and Crime, {crime['repeats']} random splits of 1,595 rows known and 399 tested, 90 % wanted; a",
        f"forest of {crime['trees']} trees with leaves of {crime['leaf']}. Published: the CQR authors' notebook, one",
        "split, a forest of 1,000 trees (coverage there and then; its network had 90.2 %, length 1.503). One split's",
        "coverage scatters by about two points. Length is the mean, in units of the mean target.",
        "",
        *_table(crime["ways"], digits=3),
    ]


def findings(record: Record) -> list[str]:
    """Write the findings of the section, a sentence or two each."""
    shift, crime = record["airfoil"]["ways"], record["communities"]["ways"]
    covered = {way: 100 * figures["coverage"]["mean"] for way, figures in shift.items()}
    published = {way: 100 * figures["published"]["coverage"] for way, figures in shift.items()}
    apart = max(abs(covered[way] - published[way]) for way in shift)
    forest = crime["CQR"]
    shifted = f"Airfoil: a shift of the inputs takes coverage from {covered['no shift']:.1f} % to"
    weighted = f"{covered['shifted, no weights']:.1f} %, oracle weights bring it back to"
    intervals = f"{100 * forest['coverage']['mean']:.1f} %, mean length {forest['length']['mean']:.3f}"
    length = forest["published"]["length"]
    stated = f"Published of one split: {100 * forest['published']['coverage']:.1f} % and {length:.3f} with a larger"
    stated += " forest, 1.503 with a network"
    weighted += f" {covered['shifted, oracle weights']:.1f} %; all within {apart:.2f} points of what was published."
    return [
        f"{shifted} {weighted}",
        f"Communities: CQR with a forest covers {intervals} (means over splits, 90 % wanted). {stated}.",
    ]


def _table(ways: Record, *, digits: int) -> Iterator[str]:
    yield "| | coverage, % | published | length | published | infinite, % |"
    yield "|---|---|---|---|---|---|"
    for way, figures in ways.items():
        published = figures.get("published", {})
        yield (
            f"| {way} | {_figure(figures['coverage'], 2, scale=100)} | {_known(published, 'coverage', 1, 100)} "
            f"| {_figure(figures['length'], digits)} | {_known(published, 'length', digits, 1)} "
            f"| {100 * figures['unbounded']['mean']:.2f} |"
        )


def _figure(figure: Record, digits: int, *, scale: float = 1) -> str:
    return f"{scale * figure['mean']:.{digits}f} ± {scale * figure['error']:.{digits}f}"


def _known(published: Record, name: str, digits: int, scale: float) -> str:
    return f"{scale * published[name]:.{digits}f}" if name in published else "-"
