"""Structured logs: one event per transition, named in the past tense, bound with ids.

    log = get_logger()
    log.info("router_replaced", machine=4, incarnation=2, seconds=0.4)

Lines are JSON on standard error of a daemon (rotation is the supervisor's) and coloured text on a terminal. Where structlog
is not installed (the template of system VMs, where each import costs boot time) the same calls give the same JSON lines.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

try:
    import structlog
except ImportError:
    structlog = None  # type: ignore[assignment]

_least = logging.INFO


class PlainLogger:
    """What the agent in a system VM uses of structlog, with the standard library."""

    def __init__(self, **bound: Any) -> None:
        self._bound = bound

    def bind(self, **more: Any) -> "PlainLogger":
        """A logger with further values on each line."""
        return PlainLogger(**{**self._bound, **more})

    def debug(self, event: str, **values: Any) -> None:
        """Said only at level DEBUG."""
        self._say(logging.DEBUG, event, values)

    def info(self, event: str, **values: Any) -> None:
        """A transition."""
        self._say(logging.INFO, event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Something to look at."""
        self._say(logging.WARNING, event, values)

    def error(self, event: str, **values: Any) -> None:
        """Something is wrong."""
        self._say(logging.ERROR, event, values)

    def exception(self, event: str, **values: Any) -> None:
        """An error, with the traceback of the exception that is being handled."""
        self._say(logging.ERROR, event, {**values, "exception": traceback.format_exc()})

    def _say(self, level: int, event: str, values: dict[str, Any]) -> None:
        if level < _least:
            return
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**self._bound, **values, "event": event, "level": logging.getLevelName(level).lower(), "timestamp": now}
        print(json.dumps(line, default=str), file=sys.stderr, flush=True)


def get_logger(**bound: Any) -> Any:
    """A logger with `bound` values on each of its lines."""
    return PlainLogger(**bound) if structlog is None else structlog.get_logger(**bound)


def configure(level: str = "INFO") -> None:
    """Sets up logging of this process."""
    global _least
    _least = logging.getLevelNamesMapping()[level]
    if structlog is None:
        return
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
