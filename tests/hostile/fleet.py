"""A gateway under attack: its callers, what reaches its service, and what must hold after every case."""

from __future__ import annotations

import json
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.memory import EVERY_S
from tests.hostile import messages
from tests.hostile.client import PATIENCE_S, Answer, Caller
from tests.hostile.framing import Request
from tests.hostile.processes import ServerProcess, open_connections
from tests.hostile.tap import Fault, Tap

ATTACKER = "attacker"
VICTIM = "victim"
ANONYMOUS = "anonymous"

BODY_TIMEOUT_S = 1.0
SEND_TIMEOUT_S = 1.5

_GROWTH_LIMIT_BYTES = 32 << 20
_LIVE_LIMIT_S = 0.2
_SETTLING_S = 8.0
_VICTIMS = 4
_IDLE_LIMIT_S = 30.0
"""Other callers who have asked nothing for longer get new connections: the gateway closes idle ones after 75 s, and
the cases of another gateway may take longer than that."""
_SHADES = (0, 60, 120, 180, 240)
_NONCE = re.compile(rb"nonce-[0-9a-f]{12}")
_OWN_TARGETS = frozenset({"/v1/models", "/openapi.json", "/health/ready"})
"""What a gateway asks its services by itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some bytes on one connection."""

    answers: list[Answer]
    """Those before the sentinel's, in order."""
    followed: bool
    """Whether the request behind the bytes was answered; else the connection was closed."""

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


@dataclass(eq=False)
class Fleet:
    """A gateway, a tap before its service, and its callers.

    Attributes:
        port: of the gateway.
        gateway: its process.
        tap: before the perception service.
        token: that the gateway shows services.
        keys: API keys by owner; empty where none are asked for.
        redis_url: of the gateway's database.
    """

    port: int
    gateway: ServerProcess = field(repr=False)
    tap: Tap = field(repr=False)
    token: str = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)
    redis_url: str = field(repr=False)
    _owners: dict[str, str] = field(default_factory=dict, repr=False)
    _victims: list[Caller] = field(default_factory=list, repr=False)
    _pictures: dict[int, list[float]] = field(default_factory=dict, repr=False)
    _check_memory: bool = field(default=True, repr=False)
    _mark: int = field(default=0, repr=False)
    _well: bool = field(default=False, repr=False)
    _served_at: float = field(default=0.0, repr=False)
    _readings: list[Request] = field(default_factory=list, repr=False)

    def nonce(self, owner: str = ATTACKER) -> str:
        """A mark for one request of a caller, by which it is known at the service."""
        nonce = f"nonce-{secrets.token_hex(6)}"
        self._owners[nonce] = owner if self.keys else ANONYMOUS
        return nonce

    def credentials(self, owner: str = ATTACKER) -> list[bytes]:
        """The fields by which a caller is known; none where no keys are asked for."""
        return [b"Authorization: Bearer " + self.keys[owner].encode()] if self.keys else []

    def fields(self, nonce: str, owner: str = ATTACKER) -> list[bytes]:
        """The fields by which a caller and its request are known."""
        return [*self.credentials(owner), b"X-Canary: " + nonce.encode()]

    def connect(self, *, patience_s: float = PATIENCE_S) -> Caller:
        return Caller(self.port, patience_s=patience_s)

    def infer(self, nonce: str, value: float = 0.25, *, owner: str = ATTACKER, fields: Sequence[bytes] = ()) -> bytes:
        """A well-formed request for the model that answers what it is asked."""
        own = [*self.fields(nonce, owner), messages.JSON_TYPE, *fields]
        return messages.request("POST", messages.INFER, messages.infer_json(nonce, value), own)

    def picture(self, nonce: str, shade: int, *, owner: str = ATTACKER, fields: Sequence[bytes] = ()) -> bytes:
        """A well-formed request for the classes of a picture."""
        own = [*self.fields(nonce, owner), messages.FORM_TYPE, *fields]
        return messages.request("POST", messages.IMAGES, messages.form(nonce, messages.png(shade)), own)

    def exchange(
        self, data: bytes, *, methods: Sequence[str] = ("POST",), follow: bool = True, end: bool = False
    ) -> Outcome:
        """Send bytes on a new connection, and a well-formed request right behind them; read until that is answered or
        the connection is closed.

        Args:
            data: what is sent.
            methods: of the requests in it, as far as answers depend on them (HEAD, CONNECT).
            follow: whether to send the request behind.
            end: whether to say that nothing more comes.
        """
        with self.connect() as caller:
            sentinel = self.nonce()
            caller.send(data + (self.infer(sentinel) if follow else b""))
            if end:
                caller.end_sending()
            return read_outcome(caller, sentinel, methods=methods)

    def first_answer(self, data: bytes) -> Answer:
        """The first answer to bytes on a connection of their own, on which nothing more is sent."""
        with self.connect() as caller:
            caller.send(data)
            answer = caller.answer()
        assert answer is not None
        return answer

    def connections(self, callers: Sequence[Caller]) -> int:
        """How many of these callers the gateway is connected to."""
        return open_connections(self.port, {caller.port for caller in callers})

    def live_s(self) -> float:
        """Seconds until /health/live was answered on a new connection."""
        began = time.monotonic()
        with self.connect() as caller:
            caller.send(messages.head("GET", "/health/live", []))
            answer = caller.answer()
        assert answer is not None
        assert answer.status == 200
        return time.monotonic() - began

    def exempt_memory(self, reason: str) -> None:
        """Leave out the check of memory after this case.

        Args:
            reason: for the reader of the case.
        """
        assert reason
        self._check_memory = False

    def expect(self, readings: Sequence[Request]) -> None:
        """Say what this case sends, where the marks in it are spoilt: the service may get what a parser reads in it.

        Args:
            readings: what a parser reads, as often as it reads it; one request may be there once for each parser.
        """
        self._readings += readings

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A case: before it other callers have connections, after it they are as well served as before."""
        if not self._well or time.monotonic() - self._served_at > _IDLE_LIMIT_S:
            self.open_victims()
        self._mark, memory, pids = self.tap.mark(), self.gateway.resident_bytes(), self.gateway.pids
        self._check_memory, self._well = True, False
        self._readings.clear()
        yield
        assert self.gateway.pids == pids, "the gateway did not survive"
        self.require_own_answers()
        require_in_time(self.live_s)
        self.require_entitled(self._mark)
        if self._check_memory:
            self.require_memory(memory)
        self._well = True

    def open_victims(self) -> None:
        """Give the other callers new connections, as when a case has failed: each is judged by itself."""
        self.close()
        self._victims += [self.connect() for _ in range(_VICTIMS)]
        self.require_own_answers()

    def close(self) -> None:
        """Close the connections of the other callers."""
        for victim in self._victims:
            victim.close()
        self._victims.clear()

    def require_own_answers(self) -> None:
        """Every other caller, all at the same time, gets the answer to what it asked."""
        nonces = [self.nonce(VICTIM) for _ in self._victims]
        values = [float(random.randrange(1 << 20)) for _ in self._victims]
        for victim, nonce, value in zip(self._victims, nonces, values, strict=True):
            victim.send(self.infer(nonce, value, owner=VICTIM))
        for victim, nonce, value in zip(self._victims, nonces, values, strict=True):
            content = json.loads(_require_answer(victim).body)
            assert (content.get("id"), content["outputs"][0]["data"][0]) == (nonce, value), "another's answer"
        shade = random.choice(_SHADES)
        assert self.classify(self._victims[0], shade) == self._expected(shade), "another's picture"
        self._served_at = time.monotonic()

    def classify(self, caller: Caller, shade: int) -> list[float]:
        """The classes of a picture and how sure they are, as one row of numbers."""
        caller.send(self.picture(self.nonce(VICTIM), shade, owner=VICTIM))
        guesses = json.loads(_require_answer(caller).body)["classifications"][0]["top"]
        return [round(number, 3) for guess in guesses for number in (guess["class_id"], guess["logit"])]

    def _expected(self, shade: int) -> list[float]:
        if not self._pictures:
            with self.connect() as caller:
                self._pictures = {one: self.classify(caller, one) for one in _SHADES}
            assert len({tuple(row) for row in self._pictures.values()}) == len(_SHADES)
        return self._pictures[shade]

    def require_entitled(self, mark: int) -> None:
        """What reached the service since then is well framed, asked once, and its caller is who the key says."""
        seen = self.tap.since(mark)
        assert [one for one in seen if isinstance(one, Fault)] == []
        requests = [one for one in seen if isinstance(one, Request)]
        counts = Counter(self._entitled(request) for request in requests)
        doubled = [nonce for nonce, count in counts.items() if nonce and count > 1]
        assert doubled == [], "a request reached the service twice"
        _poll(lambda: self.tap.unfinished() == 0, said="half a request is left on a connection to the service")

    def _entitled(self, request: Request) -> str:
        """The nonce of a request; empty for those of the gateway itself, and for what a parser reads."""
        assert request.values("facet-fleet-token") == [self.token], request
        if request.method == "GET" and request.target in _OWN_TARGETS:
            return ""
        self._require_clean(request)
        if request in self._readings:
            self._require_attackers(request)
            return ""
        assert messages.SMUGGLED_TARGET not in request.target, request
        canary = set(request.values("x-canary"))
        found = {one.decode() for one in _NONCE.findall(request.target.encode() + b" " + request.body)} or canary
        assert len(found) == 1, f"marks {found} in {request}"
        nonce = found.pop()
        assert request.values("facet-caller") == [self._owners[nonce]], request
        assert canary <= {nonce}, "a field of another caller"
        return nonce

    def _require_attackers(self, request: Request) -> None:
        """Check a request that a parser reads in what was sent: its caller sent it, and its canary."""
        assert request.values("facet-caller") == [ATTACKER if self.keys else ANONYMOUS], request
        sent = [reading.values("x-canary") for reading in self._readings if reading == request]
        assert request.values("x-canary") in sent, f"a field of another request: {request}"

    def _require_clean(self, request: Request) -> None:
        """Check that nothing is passed on which only a gateway may write, or may read."""
        forged = {line.partition(b": ")[2].decode() for line in messages.FORGED}
        leaked = [(name, value) for name, value in request.fields if value in forged]
        secrets_left = [name for name, _ in request.fields if name in {"authorization", "x-api-key", "cookie"}]
        assert (leaked, secrets_left) == ([], []), request

    def seen(self, nonce: str) -> list[Request]:
        """The requests with this nonce that reached the service since the case began."""
        mark = nonce.encode()
        requests = [one for one in self.tap.since(self._mark) if isinstance(one, Request)]
        return [one for one in requests if mark in one.body or mark in one.target.encode()]

    def reached(self) -> list[Request]:
        """What reached the service since the case began, but for what the gateway asks by itself."""
        requests = [one for one in self.tap.since(self._mark) if isinstance(one, Request)]
        return [one for one in requests if one.method != "GET" or one.target not in _OWN_TARGETS]

    def require_memory(self, before: int, *, growth: int = _GROWTH_LIMIT_BYTES) -> None:
        """The gateway has given back what it took; it looks after free memory every `EVERY_S`.

        Args:
            before: bytes that were resident.
            growth: most bytes over that.
        """
        limit = before + growth
        grown = f"memory is {self.gateway.resident_bytes() - before} bytes over what it was"
        _poll(lambda: self.gateway.resident_bytes() <= limit, said=grown, seconds=EVERY_S + _SETTLING_S)


def read_outcome(caller: Caller, sentinel: str, *, methods: Sequence[str] = ("POST",)) -> Outcome:
    """Read answers until the sentinel's, or until the connection is closed."""
    answers: list[Answer] = []
    while True:
        method = methods[len(answers)] if len(answers) < len(methods) else "POST"
        answer = caller.answer(method=method)
        if answer is None:
            return Outcome(answers, followed=False)
        if sentinel.encode() in answer.body:
            assert answer.status == 200, answer
            return Outcome(answers, followed=True)
        answers.append(answer)


def require_in_time(live_s: Callable[[], float], *, limit_s: float = _LIVE_LIMIT_S, tries: int = 4) -> None:
    """/health/live is answered in 200 ms, or in what else is given; a busy machine gets some tries."""
    took = [live_s()]
    while took[-1] >= limit_s and len(took) < tries:
        took.append(live_s())
    assert took[-1] < limit_s, f"/health/live took {took} s"


def _require_answer(caller: Caller) -> Answer:
    answer = caller.answer()
    assert answer is not None, "the connection of another caller was closed"
    assert answer.status == 200, (answer, answer.body[:500])
    return answer


def _poll(condition: Callable[[], bool], *, said: str, seconds: float = _SETTLING_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
