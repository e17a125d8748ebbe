"""Steps of a run with all that was seen of them, then measures; what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from services.security.camouflage.measurement.conditions import Condition
from services.security.camouflage.measurement.measuring import Survey
from services.security.camouflage.measurement.surveys import describe_survey, read_survey
from services.security.camouflage.optimisation.parts import Begun, Run, StepReport, VictimDigests
from services.security.camouflage.reporting.report import LossPoint, Steps, VictimCheck, thin_trace
from shared.problems import Conflict

_HEAD = 8


@dataclass(slots=True)
class Progress:
    """What was done so far.

    Attributes:
        begun: the run that makes steps, and its victim.
        victim: digests of the victim before the first step.
        seconds: of the steps of all attempts.
        trace: one line a step.
        survey: measures.
        spent: of the budgets of endpoints, by name.
    """

    begun: Begun
    victim: VictimDigests
    seconds: float = 0.0
    trace: list[LossPoint] = field(default_factory=list)
    survey: Survey = field(default_factory=Survey)
    spent: dict[str, int] = field(default_factory=dict)

    @classmethod
    def start(cls, begun: Begun) -> Progress:
        """Nothing yet."""
        return cls(begun, begun.digests())

    @property
    def run(self) -> Run:
        """That makes steps."""
        return self.begun.run

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

    def check_victim(self) -> VictimCheck:
        """Compare the victim with what it was before the first step, of whatever attempt.

        Raises:
            Conflict: it has changed.
        """
        now = self.begun.digests()
        if now != self.victim:
            what = "file" if now.file != self.victim.file else "weights in memory"
            raise Conflict(
                f"The victim's {what} changed while the camouflage was made: nothing that was found holds for either. "
                "Ask for it again."
            )
        return VictimCheck(file_sha256=now.file, tensors_sha256=now.tensors)

    def state(self) -> bytes:
        """For a checkpoint: the length of a JSON document, the document, the state of the run."""
        document = {
            "seconds": self.seconds,
            "trace": [one.model_dump() for one in self.trace],
            "victim": {"file": self.victim.file, "tensors": self.victim.tensors},
            "survey": describe_survey(self.survey),
            "spent": self.spent,
        }
        head = orjson.dumps(document)
        return len(head).to_bytes(_HEAD, "big") + head + self.run.state()

    def restore(self, state: bytes, conditions: Sequence[Condition]) -> None:
        """Go on from a checkpoint.

        Args:
            state: of it.
            conditions: that are measured under.
        """
        length = int.from_bytes(state[:_HEAD], "big")
        document = orjson.loads(state[_HEAD : _HEAD + length])
        self.run.restore(state[_HEAD + length :])
        self.seconds = document["seconds"]
        self.trace = [LossPoint.model_validate(one) for one in document["trace"]]
        self.victim = VictimDigests(**document["victim"])
        self.survey = read_survey(document["survey"], conditions)
        self.spent = document["spent"]
