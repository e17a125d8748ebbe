"""Looking at cancellation tokens as computations do."""

from __future__ import annotations

import onnxruntime

from shared.runtime.cancellation import CancellationToken, Interrupted


def is_interrupted(token: CancellationToken) -> bool:
    """Whether no run may begin any more."""
    try:
        with token.attach(onnxruntime.RunOptions()):
            return False
    except Interrupted:
        return True
