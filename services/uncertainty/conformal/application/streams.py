"""Streams: the first state of a stream from its options, then an interval and the next state for each observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from services.uncertainty.conformal.application.calibration_summaries import finite_or_none
from services.uncertainty.conformal.application.costs import STEPS_S
from services.uncertainty.conformal.application.regression_fit import band_arrays, make_band
from services.uncertainty.conformal.application.validation import LARGEST
from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.online.adaptive_inference import (
    ACI,
    CAPACITY,
    OnlineMethod,
    create_aci,
    step,
)
from services.uncertainty.conformal.methods.online.aggregated_aci import AgACI, DtACI, create_agaci, create_dtaci
from services.uncertainty.conformal.methods.online.conformal_pid import WINDOW, ConformalPID, create_conformal_pid
from services.uncertainty.conformal.methods.regression.interval_bands import Band
from services.uncertainty.conformal.schemas.streams import (
    Observation,
    Point,
    StreamAnswer,
    StreamInterval,
    StreamMethod,
    StreamOptions,
    StreamScore,
)
from services.uncertainty.conformal.schemas.used_options import STORED
from shared.imaging.charts import Curve, Plot, Ribbon, widen_range
from shared.problems import field_problem
from shared.stores.versioned_state import Document, RecordedEvent, VersionedState

_STATES: Final[dict[str, type[OnlineMethod]]] = {one.KIND: one for one in (ACI, AgACI, DtACI, ConformalPID)}

_TOO_LARGE: Final = "The score of a label is too large to compute with: its values do not fit each other."

_GUARANTEES: Final = {
    StreamMethod.ACI: "For every sequence, exchangeable or not, the share of misses is within error_bound of alpha.",
    StreamMethod.AGACI: "Each expert's own share of misses is near alpha for every sequence; the aggregate has no such "
    "theorem and is good in practice.",
    StreamMethod.DTACI: "Over any interval of the length given its regret against the best expert is bounded (Gibbs "
    "and Candès 2024). Its step sizes are fixed, so that nothing is proved of the share of misses in the long run: a "
    "stream that is made against it can keep that share at twice alpha. ACI has such a bound.",
    StreamMethod.QUANTILE_TRACKING: "For scores in [0, b] and a fixed step size eta the share of misses is within (b + "
    "eta) / (eta T) of alpha for every sequence (Angelopoulos et al. 2023); with a relative step size in practice.",
    StreamMethod.PID: "If gain and saturation let the integrator reach beyond the largest possible score, the share of "
    "misses goes to alpha for every sequence of bounded scores (Angelopoulos et al. 2023); otherwise in practice.",
}


def create_state(options: StreamOptions) -> OnlineMethod:
    """Create the state of a stream that has seen nothing but earlier scores.

    Raises:
        UnprocessableContent: options that do not fit each other.
    """
    window: dict[str, Any] = {"scores": options.scores, "capacity": options.capacity or CAPACITY}
    tracked: dict[str, Any] = {
        "scores": options.scores,
        "capacity": options.capacity or WINDOW,
        "step_size": options.step_size,
        "relative": options.relative,
        "first_bound": options.first_bound,
    }
    try:
        match options.method:
            case StreamMethod.ACI:
                first = options.first_level
                return create_aci(options.alpha, gamma=options.gamma, first_level=first, **window)
            case StreamMethod.AGACI:
                return create_agaci(options.alpha, gammas=options.gammas, **window)
            case StreamMethod.DTACI:
                return create_dtaci(options.alpha, gammas=options.gammas, interval=options.interval, **window)
            case StreamMethod.QUANTILE_TRACKING:
                return create_conformal_pid(options.alpha, **tracked)
            case _:
                return create_conformal_pid(options.alpha, gain=options.gain, saturation=options.saturation, **tracked)
    except ValueError as error:
        raise field_problem("/body", f"{error}.") from None


def load_state(document: Document) -> OnlineMethod:
    """Load a state from its JSON document."""
    return _STATES[document["kind"]].from_json(document)


def load_options(stream: VersionedState) -> StreamOptions:
    """Read the options that a stream was begun with."""
    return StreamOptions.model_validate(stream.definition["options"], context=STORED)


def check_points(points: Sequence[Point], options: StreamOptions, *, field: str) -> None:
    """Refuse points without what the stream's score needs, and with what it does not look at.

    Raises:
        UnprocessableContent: the pointer says where.
    """
    score = options.score.of_regression
    needed = {{"predictions": "prediction"}.get(name, name) for name in band_arrays(score)} if score else {"score"}
    if field == "observations" and score is not None:
        needed = needed | {"label"}
    if field == "points" and score is None:
        needed = set()
    tracking = options.method in {StreamMethod.QUANTILE_TRACKING, StreamMethod.PID}
    for index, point in enumerate(points):
        present = {name for name, value in point if value is not None}
        for name in sorted(needed - present):
            raise field_problem(f"/body/{field}/{index}/{name}", f"The score {options.score} needs this.")
        for name in sorted(present - needed - ({"forecast"} if tracking else set())):
            raise field_problem(f"/body/{field}/{index}/{name}", "This stream does not look at this.")


def predict_interval(state: OnlineMethod, point: Point, score: StreamScore) -> StreamInterval:
    """Predict the interval of a point, before its label is known."""
    if isinstance(state, ConformalPID) and point.forecast is not None:
        state = state.with_forecast(point.forecast)
    below, above = state.bounds()
    bounds = finite_or_none(below), finite_or_none(above)
    band = _band(point, score)
    if band is None:
        return StreamInterval(lower=None, upper=finite_or_none(above), empty=above == -math.inf, bounds=bounds)
    lower, upper = (float(end[0]) for end in band.expand(below, above))
    empty = lower > upper
    return StreamInterval(lower=finite_or_none(lower), upper=finite_or_none(upper), empty=empty, bounds=bounds)


def advance(
    stream: VersionedState, observations: Sequence[Observation], options: StreamOptions
) -> tuple[Document, list[Document]]:
    """Compute the next state, and for each observation the interval before its label and whether the label missed it.

    Raises:
        UnprocessableContent: a score beyond 1e100, which no state could compute with.
    """
    state = load_state(stream.state)
    _refuse_costly(state, len(observations))
    answers: list[Document] = []
    for index, observation in enumerate(observations):
        interval = predict_interval(state, observation, options.score)
        check_interruption()
        if isinstance(state, ConformalPID) and observation.forecast is not None:
            state = state.with_forecast(observation.forecast)
        below, above = _scores_of_label(observation, options.score)
        if not max(abs(below), abs(above)) <= LARGEST:
            raise field_problem(f"/body/observations/{index}", _TOO_LARGE)
        state, missed = step(state, below=below, above=above)
        answers.append({"interval": interval.model_dump(), "missed": missed})
    return _to_document(state), answers


def _refuse_costly(state: OnlineMethod, count: int) -> None:
    """Refuse more observations at once than can be computed in a moment.

    Raises:
        UnprocessableContent: names the estimate and how many observations fit.
    """
    experts = len(state.gammas) if isinstance(state, AgACI | DtACI) else 0
    window = min(state.capacity, len(state.window) + count)
    each = 1e-4 + window * (1.3e-7 + 1e-9 * experts) + experts * 1.2e-4
    if count * each > STEPS_S:
        detail = (
            f"{count} observations with {window} scores in memory and {experts} experts would take about "
            f"{count * each:.2g} s; post at most {max(1, int(STEPS_S / each))} at once."
        )
        raise field_problem("/body/observations", detail)


def _to_document(state: OnlineMethod) -> Document:
    """Convert the state to JSON, and read it back: a state that cannot be read would end the stream."""
    document = state.to_json()
    try:
        type(state).from_json(document)
    except ValueError:
        raise field_problem("/body/observations", _TOO_LARGE) from None
    return document


def describe(stream: VersionedState) -> StreamAnswer:
    """Describe a stream as it is now."""
    options, state = load_options(stream), load_state(stream.state)
    below, above = state.bounds()
    return StreamAnswer(
        id=stream.identifier,
        name=options.name,
        method=options.method,
        alpha=options.alpha,
        score=options.score,
        options=options.model_dump(mode="json", exclude={"scores", "name"}),
        created_at=stream.definition["created_at"],
        steps=stream.sequence,
        misses=state.misses,
        coverage=1 - state.error if state.steps else None,
        level=state.level if isinstance(state, ACI | DtACI) else None,
        error_bound=state.error_bound if isinstance(state, ACI) and state.steps else None,
        next_bounds=(finite_or_none(below), finite_or_none(above)),
        window=len(state.window),
        guarantee=_GUARANTEES[options.method],
    )


def draw_chart(stream: VersionedState, events: Sequence[RecordedEvent]) -> Plot:
    """Draw the intervals of the newest observations over time, with the labels; unbounded ends reach the edge."""
    options = load_options(stream)
    labels = [_label(event.posted) for event in events]
    numbers = [value for value in labels if math.isfinite(value)]
    for event in events:
        ends = (event.answer["interval"][name] for name in ("lower", "upper"))
        numbers += [end for end in ends if end is not None]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    low, high = widen_range(low, high)
    room = 0.05 * (high - low)
    low, high = low - room, high + room
    xs = [float(event.sequence) for event in events]
    state = load_state(stream.state)
    held = f"{1 - state.error:.3f}" if state.steps else "nothing yet"
    return Plot(
        title=f"{options.method} at alpha {options.alpha:g}: coverage {held} of {stream.sequence} observations",
        x_label="observation; dots: labels, red: outside of the interval",
        y_label="score" if options.score is StreamScore.DIRECT else "value",
        x_range=(xs[0], max(xs[-1], xs[0] + 1)) if xs else (0, 1),
        y_range=(low, high),
        ribbons=[_ribbon(events, xs, low, high)] if xs else [],
        curves=_marks(events, labels, (high - low) / 60),
        dots=list(zip(xs, labels, strict=True)),
    )


def _ribbon(events: Sequence[RecordedEvent], xs: Sequence[float], low: float, high: float) -> Ribbon:
    lower, upper = [], []
    for event in events:
        interval = event.answer["interval"]
        middle = _label(event.posted)
        bottom = middle if interval["empty"] else interval["lower"]
        top = middle if interval["empty"] else interval["upper"]
        lower.append(low if bottom is None else bottom)
        upper.append(high if top is None else top)
    return Ribbon(xs, lower, upper)


def _marks(events: Sequence[RecordedEvent], labels: Sequence[float], height: float) -> list[Curve]:
    """A short red stroke through each label that was missed."""
    points: list[tuple[float, float] | None] = []
    for event, label in zip(events, labels, strict=True):
        if event.answer["missed"]:
            x = float(event.sequence)
            points += [(x, label - height), (x, label + height), None]
    return [Curve(points)] if points else []


def _label(posted: Document) -> float:
    value = posted.get("label")
    return float(posted["score"] if value is None else value)


def _band(point: Point, score: StreamScore) -> Band | None:
    kind = score.of_regression
    if kind is None:
        return None
    arrays = {name: np.array([value]) for name, value in point if name != "prediction" and value is not None}
    if point.prediction is not None:
        arrays["predictions"] = np.array([point.prediction])
    return make_band(kind, arrays)


def _scores_of_label(observation: Observation, score: StreamScore) -> tuple[float, float]:
    band = _band(observation, score)
    if band is None:
        value = observation.score if observation.score is not None else math.nan
        return value, value
    below, above = band.sides([observation.label])
    return float(below[0]), float(above[0])
