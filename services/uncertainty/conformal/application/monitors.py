"""Monitors: the first state of a monitor from its options, then p-value, capital and alarm of each item."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from services.uncertainty.conformal.application.costs import STEPS_S
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.prediction import (
    draw_for_items,
    read_prediction_items,
    read_prediction_points,
    refuse_costly_sets,
    score_draws,
)
from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.methods.online.martingales import (
    Bet,
    Monitor,
    OnlinePValues,
    next_p_values,
    start_monitor,
    watch,
)
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.schemas.monitors import (
    SCORES_LIMIT,
    Alarm,
    MonitorAnswer,
    MonitorInput,
    MonitorOptions,
)
from services.uncertainty.conformal.schemas.predictions import PredictionOptions
from services.uncertainty.conformal.schemas.streams import BATCH_LIMIT
from services.uncertainty.conformal.schemas.used_options import STORED
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.serialization import AnyCalibration
from shared.imaging.charts import Curve, Plot
from shared.problems import Conflict, field_problem
from shared.stores.versioned_state import Document, RecordedEvent, VersionedState

_GUARANTEE: Final = (
    "While the items are exchangeable, {given}the capital ever reaches 1/delta with probability of at most delta, "
    "however long it runs (Ville's inequality). CUSUM and Shiryaev-Roberts raise false alarms on average no more often "
    "than every `threshold` observations."
)
_GIVEN: Final = "those of the calibration first, "
_CALM: Final = "No sign of a change. Go on observing."
_CHANGED: Final = (
    "Exchangeability is refuted: the items are no longer like those before. Guarantees of calibrations made before do "
    "not hold for them. Calibrate on recent items and begin another monitor."
)
_LATE: Final = "CUSUM or Shiryaev-Roberts point at a late change. Look at recent items; consider calibrating again."


def create_state(options: MonitorOptions, calibration: AnyCalibration | None) -> Document:
    """Create the state of a monitor that has seen nothing but the scores of its calibration, if it has one.

    Raises:
        UnprocessableContent: a calibration that gives no sequence of scores, or too many.
    """
    monitor = start_monitor(bet=options.bet, delta=options.delta, threshold=options.threshold)
    scores = () if calibration is None else read_scores(calibration)
    values = OnlinePValues(scores=scores, seed=options.seed)
    return {"monitor": monitor.to_json(), "values": values.to_json()}


def read_scores(calibration: AnyCalibration) -> tuple[float, ...]:
    """Read the sorted scores of a calibration with one cell.

    Raises:
        UnprocessableContent: it has several cells or weights, infinite scores, or too many scores.
    """
    scores = None
    if isinstance(calibration, Calibration) and calibration.taxonomy.cells == 1:
        scores = calibration.cells.scores
    if (
        isinstance(calibration, RegressionCalibration)
        and len(calibration.tails) == 1
        and len(calibration.tails[0].cells) == 1
    ):
        scores = None if calibration.tails[0].weighted else calibration.tails[0].cells[0].scores
    if scores is None or not np.isfinite(scores).all():
        raise field_problem(
            "/body/calibration", "Its scores are in several cells, weighted or infinite; take one of split."
        )
    if len(scores) > SCORES_LIMIT:
        raise field_problem("/body/calibration", f"It has {len(scores)} scores; a monitor remembers {SCORES_LIMIT}.")
    return tuple(scores.tolist())


def load_options(stored: VersionedState) -> MonitorOptions:
    """Read the options that a monitor was begun with."""
    return MonitorOptions.model_validate(stored.definition["options"], context=STORED)


def check_batch(count: int, pointer: str) -> None:
    """Refuse more items at once than `BATCH_LIMIT`.

    Raises:
        UnprocessableContent: says how many there are.
    """
    if count > BATCH_LIMIT:
        raise field_problem(pointer, f"There are {count} items; at most {BATCH_LIMIT} are accepted at once.")


def score_items(
    source: NamedArrays, entry: CalibrationEntry, calibration: AnyCalibration, options: MonitorOptions, first: int
) -> FloatArray:
    """Score labelled items, (N,); the draw of a randomised score belongs to the number of its item, `first` and on.

    Raises:
        UnprocessableContent: items that the calibration cannot score, too many, or too costly ones.
    """
    if isinstance(calibration, RegressionCalibration):
        points = read_prediction_points(source, entry, labelled=True)
        check_batch(points.count, "/body/targets")
        return points.band.scores(points.targets)
    if not isinstance(calibration, Calibration):
        raise TypeError("a calibration with one cell is expected")
    items = read_prediction_items(source, entry, labelled=True)
    labels = items.labels if items.labels is not None else np.empty(0, np.int64)
    check_batch(len(labels), f"/body/{items.name}")
    refuse_costly_sets(calibration, items, 1)
    numbered = PredictionOptions(seed=options.seed, first_item=first)
    draws = draw_for_items(calibration, items, numbered, version=entry.answer.version)
    scores = calibration.score.of_labels(items.inputs, labels, score_draws(calibration, draws))
    if not np.isfinite(scores).all():
        raise field_problem(f"/body/{items.name}", "The score of an item is infinite.")
    return scores


def advance(stored: VersionedState, values: Sequence[float]) -> tuple[Document, list[Document]]:
    """Compute the next state, and the p-value, capital and alarm after each observed p-value or score.

    Raises:
        Conflict: more scores than a monitor remembers.
        UnprocessableContent: more than can be computed in a moment.
    """
    observes = load_options(stored).observes
    monitor = Monitor.from_json(stored.state["monitor"])
    online = OnlinePValues.from_json(stored.state["values"])
    if observes is MonitorInput.SCORES and len(online.scores) + len(values) > SCORES_LIMIT:
        raise Conflict(f"A monitor remembers {SCORES_LIMIT} scores, and this one has as many. Begin another.")
    _refuse_costly(monitor, len(values), observes)
    p_values: Iterable[float] = values
    if observes is MonitorInput.SCORES:
        online, found = next_p_values(online, values)
        p_values = found.tolist()
    answers: list[Document] = []
    for p_value in p_values:
        check_interruption()
        monitor = watch(monitor, p_value)
        answers.append({"p_value": p_value, "log_capital": monitor.capital, "alarm": monitor.alarm_step > 0})
    return {"monitor": monitor.to_json(), "values": online.to_json()}, answers


def _refuse_costly(monitor: Monitor, count: int, observes: MonitorInput) -> None:
    """Refuse more observations at once than can be computed in a moment.

    Raises:
        UnprocessableContent: names the estimate and how many observations fit.
    """
    # The power mixture is a series, of more terms the more p-values there have been.
    each = 2e-4 + (2e-6 * math.sqrt(monitor.steps + count) if monitor.bet == Bet.POWER else 0)
    if count * each > STEPS_S:
        detail = (
            f"{count} observations after {monitor.steps} would take about {count * each:.2g} s; post at most "
            f"{max(1, int(STEPS_S / each))} at once."
        )
        raise field_problem(f"/body/{observes.array}", detail)


def load_monitor(stored: VersionedState) -> Monitor:
    """Load the martingales from the state of a monitor."""
    return Monitor.from_json(stored.state["monitor"])


def describe(stored: VersionedState) -> MonitorAnswer:
    """Describe a monitor as it is now."""
    options, monitor = load_options(stored), load_monitor(stored)
    late = bool(monitor.cusum_alarm_step or monitor.restarts_alarm_step)
    return MonitorAnswer(
        id=stored.identifier,
        name=options.name,
        observes=options.observes,
        calibration=options.calibration,
        options=options.model_dump(mode="json", exclude={"name", "calibration"}),
        created_at=stored.definition["created_at"],
        steps=stored.sequence,
        alarm=monitor.alarm_step > 0,
        martingale=_alarm(monitor.alarm_step, monitor.capital, -math.log(monitor.delta)),
        cusum=_alarm(monitor.cusum_alarm_step, monitor.cusum, math.log(monitor.threshold)),
        shiryaev_roberts=_alarm(monitor.restarts_alarm_step, monitor.restarts, math.log(monitor.threshold)),
        p_value=monitor.p_value,
        advice=_CHANGED if monitor.alarm_step else _LATE if late else _CALM,
        guarantee=_GUARANTEE.format(given=_GIVEN if options.calibration else ""),
    )


def draw_chart(stored: VersionedState, events: Sequence[RecordedEvent]) -> Plot:
    """Draw the capital (a power of ten) over the newest observations, with the threshold of the alarm."""
    monitor = load_monitor(stored)
    limit = -math.log10(monitor.delta)
    points = [(float(event.sequence), event.answer["log_capital"] / math.log(10)) for event in events]
    heights = [limit, 0.0, *(height for _, height in points)]
    first, last = (points[0][0], max(points[-1][0], points[0][0] + 1)) if points else (0.0, 1.0)
    state = f"alarm at {monitor.alarm_step}" if monitor.alarm_step else "no alarm"
    return Plot(
        title=f"Evidence against exchangeability after {stored.sequence} observations: {state}",
        x_label=f"observation; dashed: alarm at 1/delta, delta {monitor.delta:g}",
        y_label="capital, power of ten",
        x_range=(first, last),
        y_range=(min(heights) - 0.2, max(heights) + 0.2),
        curves=[Curve([(first, limit), (last, limit)], dashed=True), Curve(list(points), colour="#3b76af")],
    )


def _alarm(step: int, value: float, threshold: float) -> Alarm:
    return Alarm(raised=step > 0, step=step or None, value=value, threshold=threshold)
