"""Where the programs log to: standard error, one line an event, no secrets."""

import logging as standard
import sys

import structlog


def log_to_stderr() -> None:
    """Set up logging once, at the start of a long-running command."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The pretty ones show local variables, and so secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(standard.INFO),
    )
    standard.basicConfig(
        level=standard.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s"
    )
