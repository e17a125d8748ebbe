from __future__ import annotations
from tests.hostile.fleet import Fleet


def test_smoke(fleet: Fleet) -> None:
    outcome = fleet.exchange(fleet.infer(fleet.nonce()))
    assert (outcome.statuses, outcome.followed) == ([200], True)
