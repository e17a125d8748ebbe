"""What must hold whatever a proxy makes of a request."""

from __future__ import annotations

import json

from tests.hostile import messages
from tests.hostile.client import Answer
from tests.hostile.fleet import Fleet, Outcome
from tests.hostile.framing import Request
from tests.hostile.framing_cases import VALUE

PROBLEM = "application/problem+json"


def require_one_meaning(fleet: Fleet, nonce: str, outcome: Outcome) -> None:
    """What was served is what was sent, once; what was refused reached nobody, and nothing is read behind it."""
    served = outcome.statuses.count(200)
    assert outcome.statuses in ([], [200]) or outcome.statuses[-1] >= 400
    assert len(outcome.answers) <= 2  # what follows a whole request may be refused as none
    assert [request.body for request in fleet.seen(nonce)] == [messages.infer_json(nonce, VALUE)] * served


def require_single(fleet: Fleet, nonce: str) -> Request:
    (request,) = fleet.seen(nonce)
    return request


def require_problem(answer: Answer | None, status: int) -> None:
    assert answer is not None
    assert (answer.status, answer.fields["content-type"]) == (status, PROBLEM)
    assert json.loads(answer.body)["status"] == status


def get(fleet: Fleet, target: str, *fields: bytes, method: str = "GET") -> Answer:
    """The answer to a request without a body, behind which the connection is used again."""
    outcome = fleet.exchange(messages.head(method, target, fields), methods=[method])
    assert outcome.followed
    (answer,) = outcome.answers
    return answer
