"""loguru: a sink that writes Cloud Logging's JSON. ``logger.add(obskit.logs.loguru.sink)`` is all."""

from __future__ import annotations

import logging
import sys
from typing import Any

from obskit.logs.formatter import CloudLoggingFormatter

_formatter = CloudLoggingFormatter()


def sink(message: Any) -> None:
    """Write a loguru message to standard output as one line of strict JSON."""
    sys.stdout.write(render(message.record) + "\n")
    sys.stdout.flush()


def render(record: dict[str, Any]) -> str:
    """Return a loguru record as one line: what was bound to the logger becomes fields."""
    exception = record["exception"]
    return _formatter.format(
        logging.makeLogRecord(
            {
                "msg": "%s",
                "args": (record["message"],),
                "levelno": record["level"].no,
                "name": record["name"] or "loguru",
                "pathname": record["file"].path,
                "lineno": record["line"],
                "funcName": record["function"],
                "threadName": record["thread"].name,
                "created": record["time"].timestamp(),
                "exc_info": tuple(exception) if exception else None,
                "json_fields": record["extra"],
            }
        )
    )
