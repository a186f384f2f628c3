"""Sends the console's lines to a collector, through a pipeline like that of spans."""

from __future__ import annotations

import logging
import os
import weakref
from typing import Any
from urllib.parse import quote, urlsplit

from obskit.base import told_running
from obskit.base.failures import failed
from obskit.base.process import check_fork, on_fork
from obskit.export.delivery.collector_report import CollectorReport
from obskit.export.delivery.exporter import Outcome
from obskit.export.delivery.pipeline import Limits, Pipeline
from obskit.export.net.http_sender import HttpSender
from obskit.export.net.url import is_loopback, masked
from obskit.logs.formatter import CloudLoggingFormatter

_PATH = "/api/obskit/v1/lines"
_HEADERS = {"Content-Type": "application/x-ndjson", "b3": "0", "User-Agent": "obskit"}  # b3: not to be traced by a mesh
_LEAST_DEFLATED = 4096  # a body below three TCP segments gains nothing from compression
_JSON = '{"severity":'  # how each of obskit's lines begins


class LineExporter:
    """Posts lines of JSON to a collector, which recognises lines that are sent twice."""

    batch_items = 10_000
    batch_bytes = 500_000
    size = staticmethod(len)

    def __init__(self, url: str, service: str) -> None:
        query = f"service={quote(service, safe='')}&instance={quote(told_running.instance(), safe='')}"
        self.report = CollectorReport(service, "log lines", known=True)
        self._sender = HttpSender(f"{url}{_PATH}?{query}", _HEADERS, self.report)
        self._deflates = not is_loopback(urlsplit(url).hostname or "")

    def encode(self, line: bytes) -> bytes:
        """Return the line unchanged."""
        return line

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Post the lines in one body."""
        body = b"\n".join(items)
        if self._deflates and len(body) >= _LEAST_DEFLATED:
            from obskit.export.zipkin.exporters import gzipped

            return self._sender.post(gzipped(body), deadline, {"Content-Encoding": "gzip"})
        return self._sender.post(body, deadline)

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()


class LineShipper:
    """Queues lines for a collector. ``take`` never waits and never raises; lines beyond the limit are counted."""

    def __init__(self, url: str, service: str, limits: Limits) -> None:
        self._formatter = CloudLoggingFormatter()
        self._last: Any = None
        self._pid = os.getpid()
        self.pipeline = Pipeline(
            masked(url + _PATH), lambda: LineExporter(url, service), limits, "log lines", weigh=len
        )
        _shippers.add(self)

    def take(self, record: logging.LogRecord, line: str = "") -> None:
        """Queue a record's ``line``, or format it if that is not JSON; ignore a record seen from another handler."""
        try:
            check_fork()
            if self._last is not None and self._last() is record:
                return
            self._last = weakref.ref(record)
            if self.pipeline.full:  # checked before the cost of formatting
                self.pipeline.refuse()
                return
            text = line if line.startswith(_JSON) else self._formatter.format(record)
            self.pipeline.offer(text.rstrip("\n").encode("utf-8", "replace"))
        except Exception:
            failed("queueing a log line for the collector")

    def after_fork(self) -> None:
        """Start empty in a forked child; do nothing in the same process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.pipeline.after_fork()


_shippers: weakref.WeakSet[LineShipper] = weakref.WeakSet()


def _after_fork() -> None:
    for shipper in list(_shippers):
        shipper.after_fork()


on_fork(_after_fork)
