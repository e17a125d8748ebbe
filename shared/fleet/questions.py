"""What is asked of a service, when it is asked again, and what its answer says. No transport in here.

A question is a generator: it yields what is to be sent and how long to wait, and is sent what came of it. So the rules
are the same for routes, which await, and for jobs, which block.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson

from shared.fleet.budget import QueryBudget
from shared.problems import BY_STATUS, BadGateway, FieldError, GatewayTimeout, Problem, ServiceUnavailable
from shared.runtime.cards import ModelReference
from shared.settings import Domain

_MODEL: Final = re.compile(r'(?P<name>[^;]+);version="(?P<version>[^"]*)";sha256="(?P<sha256>[0-9a-f]{64})"')
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BUSY: Final = frozenset({429, 503})
"""Answers of a service that has not begun."""
_OURS: Final = frozenset({401, 403, 405, 406})
"""What a caller of ours can do nothing about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A POST to a route.

    Attributes:
        path: of the route.
        files: contents by field; a field may come several times.
        form: further fields.
        accept: media type of the answer.
        queries: what it counts against a budget: how many inputs the model sees.
        repeatable: whether asking twice does nothing twice, as with all that only computes (RFC 9110, section 9.2.2).
        deadline_s: until there is an answer, all tries and pauses together.
    """

    path: str
    files: Sequence[tuple[str, bytes]] = ()
    form: Mapping[str, str] = field(default_factory=dict)
    accept: str = "application/json"
    queries: int = 1
    repeatable: bool = True
    deadline_s: float = 60.0

    def arguments(self) -> dict[str, Any]:
        """As httpx takes it."""
        files = [(name, ("file", content, "application/octet-stream")) for name, content in self.files]
        return {"files": files or None, "data": dict(self.form)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a question is asked again: not sent, refused by a busy service, or broken off and repeatable.

    Attributes:
        tries: at most, the first one included.
        first_pause_s: before the second try where the service names none; doubles with each.
        longest_pause_s: whatever the service names.
        longest_try_s: of one try; a job cannot be cancelled within it.
    """

    tries: int = 3
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0
    longest_try_s: float = 60.0

    def pause_s(self, tried: int, retry_after: str = "") -> float:
        """Seconds to wait after so many tries."""
        wanted = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
        return min(wanted or self.first_pause_s * 2 ** (tried - 1), self.longest_pause_s)


@dataclass(frozen=True, slots=True)
class Send:
    """To be sent, and answered within these seconds."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """To be waited for."""

    seconds: float


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """What a service has answered.

    Attributes:
        content: the body.
        domain: of the service.
        model: which weights gave it; None where the answer does not say.
    """

    content: bytes
    domain: Domain
    model: ModelReference | None


Outcome = httpx.Response | httpx.HTTPError
Conversation = Generator[Send | Pause, Outcome | None, FleetAnswer]


def advance(conversation: Conversation, outcome: Outcome | None = None) -> Send | Pause | FleetAnswer:
    """What is to be done next, or the answer.

    Args:
        conversation: of `converse`.
        outcome: what came of the last `Send`; None after a `Pause`, and at the beginning.

    Raises:
        BudgetExhausted, Problem: as `converse`.
    """
    try:
        return conversation.send(outcome)
    except StopIteration as end:
        answer: FleetAnswer = end.value
        return answer


def converse(
    question: Question, domain: Domain, *, policy: RetryPolicy, budget: QueryBudget | None = None
) -> Conversation:
    """Ask until there is an answer, or a reason to give up.

    Raises:
        BudgetExhausted: the question is not sent.
        Problem: the service's own, or that it does not answer.
    """
    end_s = time.monotonic() + question.deadline_s
    for tried in range(1, policy.tries + 1):
        if budget is not None:
            budget.spend(question.queries)
        outcome = yield Send(min(policy.longest_try_s, max(0.001, end_s - time.monotonic())))
        assert outcome is not None  # noqa: S101 - what was sent has an outcome
        if isinstance(outcome, httpx.Response) and outcome.status_code not in _BUSY:
            return _read(outcome, domain)
        unseen = isinstance(outcome, (httpx.Response, *_NOT_SENT))
        if budget is not None and unseen:
            budget.give_back(question.queries)
        pause_s = policy.pause_s(tried, _retry_after(outcome))
        hopeless = not (unseen or question.repeatable) or time.monotonic() + pause_s >= end_s
        if tried == policy.tries or hopeless:
            raise _problem_of(outcome, domain)
        yield Pause(pause_s)
    raise AssertionError("a policy has at least one try")


def _retry_after(outcome: Outcome) -> str:
    return outcome.headers.get("Retry-After", "") if isinstance(outcome, httpx.Response) else ""


def _read(answer: httpx.Response, domain: Domain) -> FleetAnswer:
    if not answer.is_success:
        raise _problem_of(answer, domain)
    said = _MODEL.fullmatch(answer.headers.get("Facet-Model", ""))
    model = ModelReference(name=said["name"], version=said["version"], weights_sha256=said["sha256"]) if said else None
    return FleetAnswer(answer.content, domain, model)


def _problem_of(outcome: Outcome, domain: Domain) -> Problem:
    """The service's own problem, as the caller would have got it there."""
    if isinstance(outcome, _NOT_SENT):
        return ServiceUnavailable(f"The {domain} service, which has the model, does not answer at present.")
    if isinstance(outcome, httpx.TimeoutException):
        return GatewayTimeout(f"The {domain} service, which has the model, did not answer in time.")
    if isinstance(outcome, httpx.HTTPError):
        return ServiceUnavailable(f"The {domain} service, which has the model, broke off its answer.")
    try:
        document = orjson.loads(outcome.content)
        detail = str(document["detail"])
        errors = [FieldError.model_validate(one) for one in document.get("errors", [])]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return BadGateway(f"The {domain} service answered with the status {outcome.status_code}.")
    if outcome.status_code in _OURS or outcome.status_code not in BY_STATUS:
        return BadGateway(f"The {domain} service refused the question: {detail}")
    if outcome.status_code == ServiceUnavailable.status:
        waiting = _retry_after(outcome)
        return ServiceUnavailable(detail, retry_after_s=int(waiting) if waiting.isdigit() else 5, errors=errors)
    return BY_STATUS[outcome.status_code](detail, errors=errors)
