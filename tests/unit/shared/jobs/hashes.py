"""Job hashes as Redis returns them."""

from __future__ import annotations

QUEUED = {
    "id": "019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e",
    "kind": "a.b",
    "title": "A",
    "queue": "medical.onnx",
    "owner": "ada",
    "status": "queued",
    "attempt": "0",
    "lost": "0",
    "version": "1",
    "created_at": "1754300000123",
    "time_limit_s": "60",
    "cancel_bound_s": "0.5",
    "step_unit": "slice",
    "arguments": '{"slices":3}',
    "now": "1754300010000",
    "queue_position": "4",
    "queue_workers": "2",
}
RUNNING = QUEUED | {"status": "running", "attempt": "2", "attempt_at": "1754300004000", "step": "10", "total": "40"}
