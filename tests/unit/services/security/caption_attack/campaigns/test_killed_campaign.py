"""A campaign that is killed in the middle of a batch and run again: the captioner counts what it sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.caption_attack.campaigns.checkpoints import unpack
from services.security.caption_attack.captioners.queries import picture_key
from tests.unit.services.security.caption_attack.campaigns.killed_campaign import LIMIT, run
from tests.unit.services.security.caption_attack.example_captioners import RegionCaptioner, noise_picture
from tests.unit.services.security.caption_attack.remote_captioner import Answer, RemoteCaptioner, said, serving

SCRIPT = Path(__file__).with_name("killed_campaign.py")
ROOT = Path(__file__).parents[6]
KILLED_AT = 35
"""Within the second generation: 3 clean queries, 20 members, then trials."""


def test_a_killed_campaign_never_exceeds_its_budget_and_asks_nothing_twice_that_was_answered(tmp_path: Path) -> None:
    inner, processes, checkpoint = RegionCaptioner(noise_picture()), list[subprocess.Popen[bytes]](), tmp_path / "saved"

    def answer(picture: NDArray[np.uint8], count: int) -> Answer:
        if count == KILLED_AT:
            processes[0].send_signal(signal.SIGKILL)
            processes[0].wait()
        return said(inner.caption([picture])[0])

    captioner = RemoteCaptioner(answer)
    with serving(captioner) as url:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes.append(subprocess.Popen([sys.executable, str(SCRIPT), url, str(checkpoint)], env=environment))
        assert processes[0].wait(120) == -signal.SIGKILL
        seen = len(captioner.requests)
        answered = orjson.loads(unpack(checkpoint.read_bytes())[0])["answers"]
        assert len(answered) == 1 + 20
        assert run(url, checkpoint) == LIMIT
    assert KILLED_AT <= seen < len(captioner.requests) <= LIMIT
    later = {picture_key(captioner.picture(number)) for number in range(seen, len(captioner.requests))}
    assert not later & answered.keys()
