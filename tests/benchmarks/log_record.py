"""One log record, from the logger's call to the end of a line in a stream that drops it."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from typing import Any

from clocks import Block, Figures, timed
from sides import OBSKIT, discard, start_obskit

PLAIN, GOOGLE, PYTHON_JSON = "plain text", "google-cloud-logging", "python-json-logger"
IN_SPAN, NO_SPAN, TWO_FIELDS, NO_FIELDS, BELOW = "in a span", "no span", "two fields", "no fields", "below its level"
VARIANTS = (
    *(f"{where}, {fields}" for where in (IN_SPAN, NO_SPAN) for fields in (TWO_FIELDS, NO_FIELDS)),
    BELOW,
)
RECORDS = 200


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what logs a block of records with each library's handler."""
    start_obskit(discard())
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    handlers = {OBSKIT: _obskit(), PLAIN: _plain(), GOOGLE: _google(), PYTHON_JSON: _python_json()}
    return {side: _block(_logger(side, handler), variant) for side, handler in handlers.items()}


def _obskit() -> logging.Handler:
    from obskit.logs.formatter import CloudLoggingFormatter
    from obskit.logs.handler import ConsoleHandler

    handler = ConsoleHandler()
    handler.setFormatter(CloudLoggingFormatter())
    return handler


def _plain() -> logging.Handler:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


def _google() -> logging.Handler:
    import google.cloud.logging_v2
    from google.cloud.logging_v2.handlers import StructuredLogHandler

    google.cloud.logging_v2._instrumentation_emitted = True  # else its first record logs one about itself
    return StructuredLogHandler(stream=sys.stdout, project_id="bench")


def _python_json() -> logging.Handler:
    from pythonjsonlogger.orjson import OrjsonFormatter

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(OrjsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return handler


def _logger(side: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(f"bench.{side}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [handler]  # alone, also where several variants are counted in one process
    return logger


def _block(logger: logging.Logger, variant: str) -> Block:
    from opentelemetry import trace

    extra: dict[str, Any] | None = {"customer": "acme", "items": 3} if TWO_FIELDS in variant else None
    level = logging.DEBUG if variant == BELOW else logging.INFO
    tracer = trace.get_tracer("bench")

    def work() -> None:
        for number in range(RECORDS):
            logger.log(level, "order %d was placed", number, extra=extra)

    def block() -> Figures:
        with ExitStack() as stack:
            if IN_SPAN in variant:
                stack.enter_context(tracer.start_as_current_span("place"))
            return timed(RECORDS, work)

    return block
