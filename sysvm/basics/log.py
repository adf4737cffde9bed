"""Structured logs: one event per transition, named in the past tense, bound with ids.

    log = get_logger()
    log.info("router_replaced", machine=4, incarnation=2, seconds=0.4)

Lines are JSON on standard error of a daemon (rotation is the supervisor's) and coloured text on a terminal.
"""

import logging
import sys
from typing import Any

import structlog


def get_logger(**bound: Any) -> Any:
    """A logger with `bound` values on each of its lines."""
    return structlog.get_logger(**bound)


def configure(level: str = "INFO") -> None:
    """Sets up logging of this process."""
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
