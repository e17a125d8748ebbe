"""How a process tells what it does: JSON logs, Prometheus metrics, Server-Timing."""
