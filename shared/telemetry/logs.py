"""JSON logs, one object a line, each with its request. Never patient data, never file names of callers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

Bindings = Callable[[], dict[str, str]]


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object.

    Args:
        process: name of the process, such as "gateway" or "worker-onnx".
        bindings: returns the ids of the request or job at hand.
    """

    def __init__(self, process: str, bindings: Bindings) -> None:
        super().__init__()
        self._process = process
        self._bindings = bindings

    def format(self, record: logging.LogRecord) -> str:
        """Render one record; `extra=` fields become members."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= self._bindings()
        members = vars(record)
        for key in members.keys() - _STANDARD:
            entry[key] = members[key]
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(process: str, *, level: str, bindings: Bindings = dict) -> None:
    """Send all logs of this process to standard error as JSON, uvicorn's and Celery's included."""
    _leave_out_what_no_line_holds()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process, bindings))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # the middleware writes a richer line
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _leave_out_what_no_line_holds() -> None:
    """Look for neither the caller's place in the code nor threads and processes, which costs more than the line does.

    Source: Python's logging HOWTO, "Optimization".
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
