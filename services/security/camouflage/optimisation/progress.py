"""Steps of a run with all that was seen of them; what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from services.security.camouflage.optimisation.parts import Run, StepReport
from services.security.camouflage.report import LossPoint, Steps, thin_trace

_HEAD = 8


@dataclass(slots=True)
class Progress:
    """The steps so far.

    Attributes:
        run: that makes them.
        seconds: of all attempts.
        trace: one line a step.
    """

    run: Run
    seconds: float = 0.0
    trace: list[LossPoint] = field(default_factory=list)

    def note(self, report: StepReport, seconds: float) -> LossPoint:
        """Remember a step."""
        losses, best = {name: float(value) for name, value in report.losses.items()}, float(report.score)
        point = LossPoint(
            step=self.run.step_number,
            losses={name: round(value, 6) for name, value in losses.items()},
            best_score=round(best, 5),
        )
        self.seconds += seconds
        self.trace.append(point)
        return point

    def summary(self, planned: int) -> Steps:
        """For the report."""
        done = self.run.step_number
        rate = round(done / self.seconds, 3) if done and self.seconds else None
        return Steps(
            done=done,
            planned=planned,
            seconds=round(self.seconds, 1),
            steps_per_s=rate,
            trace=thin_trace(self.trace),
        )

    def state(self) -> bytes:
        """For a checkpoint: the length of a JSON document, the document, the state of the run."""
        document = {"seconds": self.seconds, "trace": [one.model_dump() for one in self.trace]}
        head = orjson.dumps(document)
        return len(head).to_bytes(_HEAD, "big") + head + self.run.state()

    def restore(self, state: bytes) -> None:
        """Go on from a checkpoint."""
        length = int.from_bytes(state[:_HEAD], "big")
        document = orjson.loads(state[_HEAD : _HEAD + length])
        self.run.restore(state[_HEAD + length :])
        self.seconds = document["seconds"]
        self.trace = [LossPoint.model_validate(one) for one in document["trace"]]
