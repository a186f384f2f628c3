"""ddtrace, sending to an agent at the case's address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from log_file import log_to_file

os.environ["DD_TRACE_AGENT_URL"] = f"http://{urlsplit(os.environ['BATTERY_URL']).netloc}"
for _name in ("INSTRUMENTATION_TELEMETRY", "REMOTE_CONFIGURATION", "CRASHTRACKING", "RUNTIME_METRICS"):
    os.environ[f"DD_{_name}_ENABLED"] = "false"
os.environ["DD_TRACE_LOG_STREAM_HANDLER"] = "false"

from ddtrace.trace import TraceFilter, tracer  # noqa: E402 - it reads the environment when imported

log_to_file("ddtrace")


@contextmanager
def span(name: str, **tags: object) -> Iterator[None]:
    with tracer.trace(name) as current:
        for key, value in tags.items():
            current.set_tag(key, value)
        yield


def flush(_timeout: float) -> object:
    return tracer.flush()


class _Refusing(TraceFilter):
    def process_trace(self, trace: object) -> object:
        raise RuntimeError("the application's filter")


def raising_processor() -> None:
    tracer.configure(trace_processors=[_Refusing()])
