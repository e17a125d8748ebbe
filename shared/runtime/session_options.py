"""How onnxruntime computes in every process of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

_SPIN_US = 20


def session_options(threads: int, *, spinning: bool = False, arena: bool = False) -> onnxruntime.SessionOptions:
    """Options for a process that shares its cores with others.

    Threads are explicit because the default is the host's core count, whatever the container may use. Between runs they
    do not spin, because a spinning pool takes a core from the sessions beside it; within one they do for a moment, from
    layer to layer: to sleep and be woken at each costs a tenth of the time of a short run, and to spin longer takes the
    core from whatever the other thread waits for. The arena is off where inputs have any size, because it never gives
    back what one large image made it take. No library of custom operators is ever registered.

    Args:
        threads: that one run computes with.
        spinning: whether they wait busily, also for the next run.
        arena: whether memory of the largest run is kept for the next.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = arena
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    if not spinning:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
        options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options
