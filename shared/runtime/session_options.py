"""How onnxruntime computes in every process of the fleet."""

from __future__ import annotations

import onnxruntime


def session_options(threads: int, *, spinning: bool = False, arena: bool = False) -> onnxruntime.SessionOptions:
    """Options for a process that shares its cores with others.

    Threads are explicit because the default is the host's core count, whatever the container may use; they do
    not spin, because a spinning pool takes a core from the sessions beside it; and the arena is off where inputs have
    any size, because it never gives back what one large image made it take. No library of custom operators is ever
    registered.

    Args:
        threads: that one run computes with.
        spinning: whether they wait busily.
        arena: whether memory of the largest run is kept for the next.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.log_severity_level = 3
    return options
