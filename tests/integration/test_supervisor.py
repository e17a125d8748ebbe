"""The supervisor with real processes: stand-ins that serve, die, hang or refuse to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local.ports import free_ports
from deploy.local.processes import Specification, Tier
from deploy.local.redis_server import local_redis
from deploy.local.supervisor import Policy, StartFailed, Supervisor
from deploy.probes import Probe, http_probe
from tests.support.processes import PATIENCE_S, group_members, runs, until

ROOT = Path(__file__).parents[2]

QUICK = Policy(
    tick_s=0.01, first_delay_s=0.05, longest_delay_s=0.1, start_attempts=3, alive_every_s=0.05, silent_limit=3
)

SERVE = """
import http.server, pathlib, signal, sys
def stop(*_):
    pathlib.Path({trace!r}).open("a").write({name!r} + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""

ORPHANS = """
import sys
from pathlib import Path
from deploy.local.processes import Specification, Tier
from deploy.local.supervisor import Supervisor
child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-I', '-S', '-c', {nap!r}]); {nap}"
always_well = lambda: None
specification = Specification(name="child", command=(sys.executable, "-I", "-S", "-c", child), tier=Tier.BACKEND,
                              ready=always_well, alive=always_well)
tell = lambda pids: print(pids["child"], flush=True)
Supervisor([specification], logs=Path(sys.argv[1]), say=lambda _: None, on_change=tell).run()
""".replace("{nap!r}", repr("import time; time.sleep(60)")).replace("{nap}", "time.sleep(60)")


class Run:
    """A supervisor in a thread, and what it said."""

    def __init__(self, tmp_path: Path, specifications: list[Specification], policy: Policy) -> None:
        self.said: list[str] = []
        self.pids: dict[str, int] = {}
        self.fault: StartFailed | None = None
        self.supervisor = Supervisor(
            specifications, logs=tmp_path / "logs", say=self.said.append, policy=policy, on_change=self.pids.update
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except StartFailed as fault:
            self.fault = fault

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, said=self.said)

    def until_said(self, words: str) -> None:
        self.until(lambda: any(words in line for line in self.said))

    def end(self) -> None:
        self.supervisor.request_stop()
        self.join()

    def join(self) -> None:
        self._thread.join(timeout=PATIENCE_S)
        assert not self._thread.is_alive()


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def begin(*specifications: Specification, policy: Policy = QUICK) -> Run:
        runs.append(Run(tmp_path, list(specifications), policy))
        return runs[-1]

    yield begin
    for run in runs:
        run.supervisor.request_stop()
        run.supervisor.request_stop()
        run.join()


def server(tmp_path: Path, name: str, port: int, tier: Tier = Tier.BACKEND) -> Specification:
    """A web server that notes its name when it is asked to stop."""
    probe = http_probe(f"http://127.0.0.1:{port}/")
    code = SERVE.format(trace=str(tmp_path / "trace"), name=name, port=port)
    return Specification(name=name, command=(sys.executable, "-c", code), tier=tier, ready=probe, alive=probe)


def script(name: str, code: str, *, ready: Probe = lambda: None, grace_s: float = 15.0) -> Specification:
    command = (sys.executable, "-I", "-S", "-c", code)
    return Specification(
        name=name, command=command, tier=Tier.BACKEND, ready=ready, alive=lambda: None, grace_s=grace_s
    )


def holds(path: Path, text: str) -> bool:
    return path.read_text() == text


def test_it_starts_announces_and_stops_from_the_door_to_the_store(start: Start, tmp_path: Path) -> None:
    first, second, third = free_ports(3)
    run = start(
        server(tmp_path, "gateway", first, Tier.EDGE),
        server(tmp_path, "store", second, Tier.STORE),
        server(tmp_path, "medical", third),
    )
    run.until_said("all ready")
    assert set(run.pids) == {"gateway", "store", "medical"}
    for name, pid in run.pids.items():
        assert any(line.startswith(name) and str(pid) in line for line in run.said)
    run.end()
    assert (tmp_path / "trace").read_text().split() == ["gateway", "medical", "store"]
    assert not any(map(runs, run.pids.values()))


def test_a_killed_process_is_started_again(start: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    run = start(server(tmp_path, "medical", port))
    run.until_said("all ready")
    before = run.pids["medical"]
    os.kill(before, signal.SIGKILL)
    run.until_said("medical ended (killed by SIGKILL)")
    run.until(lambda: run.pids["medical"] != before)
    run.until(lambda: http_probe(f"http://127.0.0.1:{port}/")() is None)


def test_after_a_good_start_it_never_gives_up(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"import os, time; os.path.exists({str(mark)!r}) and exit(1); open({str(mark)!r}, 'w'); time.sleep(0.2)"
    run = start(script("fickle", code))
    run.until_said("all ready")
    run.until(lambda: sum("fickle ended" in line for line in run.said) > QUICK.start_attempts)
    assert run.fault is None


def test_dying_again_and_again_ends_the_start_with_the_last_words(start: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    broken = script("broken", "raise SystemExit('no such model')", ready=lambda: "not loaded")
    run = start(server(tmp_path, "steady", port), broken)
    run.join()
    assert "broken died 3 times in a row (exit code 1)" in str(run.fault)
    assert "    no such model" in run.said
    assert http_probe(f"http://127.0.0.1:{port}/")() is not None


def test_not_ready_in_time_names_what_is_missing(start: Start) -> None:
    policy = Policy(tick_s=0.01, start_timeout_s=0.3)
    run = start(script("slow", "import time; time.sleep(60)", ready=lambda: "models: loading"), policy=policy)
    run.join()
    assert "slow (models: loading)" in str(run.fault)


def test_a_process_that_runs_but_is_silent_is_replaced(start: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    silent = tmp_path / "silent"
    specification = Specification(
        name="hung",
        command=server(tmp_path, "hung", port).command,
        tier=Tier.BACKEND,
        ready=http_probe(f"http://127.0.0.1:{port}/"),
        alive=lambda: "no heartbeat" if silent.exists() else None,
    )
    run = start(specification)
    run.until_said("all ready")
    before = run.pids["hung"]
    silent.touch()
    run.until_said("hung runs but does not answer (no heartbeat): killed")
    silent.unlink()
    run.until(lambda: run.pids["hung"] != before)


def stubborn(tmp_path: Path, *, grace_s: float) -> Specification:
    """Ignores SIGTERM, and is ready once it does."""
    mark = tmp_path / "ignores"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(mark)!r}, 'w').close(); time.sleep(600)"
    )
    return script("stubborn", code, ready=lambda: None if mark.exists() else "starting", grace_s=grace_s)


def test_a_process_that_never_answers_after_its_restart_is_replaced(start: Start, tmp_path: Path) -> None:
    once = tmp_path / "once"
    run = start(
        Specification(
            name="mute",
            command=(sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"),
            tier=Tier.BACKEND,
            ready=lambda: None,
            alive=lambda: "does not answer yet" if once.exists() else None,
        ),
        policy=replace(QUICK, start_timeout_s=0.5),
    )
    run.until_said("all ready")
    once.touch()
    os.kill(run.pids["mute"], signal.SIGKILL)
    run.until_said("mute ended")
    run.until_said("mute runs but does not answer")


def test_who_ignores_the_request_to_stop_is_killed(start: Start, tmp_path: Path) -> None:
    run = start(stubborn(tmp_path, grace_s=0.2))
    run.until_said("all ready")
    run.end()
    assert "stubborn did not stop by itself: killed" in run.said
    assert not runs(run.pids["stubborn"])


def test_asked_twice_it_does_not_wait(start: Start, tmp_path: Path) -> None:
    run = start(stubborn(tmp_path, grace_s=500))
    run.until_said("all ready")
    run.supervisor.request_stop()
    run.end()
    assert not runs(run.pids["stubborn"])


def test_stopping_during_the_start_is_possible(start: Start) -> None:
    run = start(script("slow", "import time; time.sleep(60)", ready=lambda: "loading"))
    run.end()
    assert run.fault is None
    assert not any("all ready" in line for line in run.said)


def test_the_previous_log_is_kept(start: Start, tmp_path: Path) -> None:
    for word in ("first", "second"):
        run = start(script("talker", f"print({word!r}, flush=True); import time; time.sleep(60)"))
        log = tmp_path / "logs" / "talker.log"
        run.until(partial(holds, log, word + "\n"))
        run.end()
    assert (tmp_path / "logs" / "talker.log.old").read_text() == "first\n"


def test_redis_comes_back_with_what_it_had(start: Start, tmp_path: Path) -> None:
    specification, url = local_redis(tmp_path / "redis", free_ports(1)[0])
    run = start(specification)
    run.until_said("all ready")
    with redis.Redis.from_url(url) as client:
        client.set("job", "queued")
        client.wait(0, 0)
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    written = tmp_path / "redis" / "appendonlydir"
    run.until(lambda: any(file.stat().st_size for file in written.glob("*.incr.aof")))
    before = run.pids["redis"]
    os.kill(before, signal.SIGKILL)
    run.until(lambda: run.pids["redis"] != before and specification.ready() is None)
    with redis.Redis.from_url(url) as client:
        assert client.get("job") == b"queued"


def test_redis_asks_for_its_password(start: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    run = start(local_redis(tmp_path / "redis", port)[0])
    run.until_said("all ready")
    with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("job")


def test_a_killed_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ORPHANS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        group = int(supervisor.stdout.readline())
        until(lambda: len(group_members(group)) == 2)  # the child and what it started
        supervisor.kill()
    until(lambda: not group_members(group))
