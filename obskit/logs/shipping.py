"""Sending lines to a collector: those that the console shows, by the spans' kind of pipeline."""

from __future__ import annotations

import logging
import os
import weakref
from typing import Any
from urllib.parse import quote, urlsplit

from obskit.base.failures import failed
from obskit.base.process import check_fork, on_fork
from obskit.export.delivery.exporter import Outcome
from obskit.export.delivery.pipeline import Limits, Pipeline
from obskit.export.net.http_sender import HttpSender
from obskit.export.net.url import is_loopback, masked
from obskit.logs.formatter import CloudLoggingFormatter

_PATH = "/api/obskit/v1/lines"
_HEADERS = {"Content-Type": "application/x-ndjson", "b3": "0", "User-Agent": "obskit"}  # a mesh traces no delivery
_LEAST_DEFLATED = 4096  # below three TCP segments no time is saved
_JSON = '{"severity":'  # how each line of ours begins


class LineExporter:
    """Posts lines of JSON to a collector, which stores one that is sent again once."""

    batch_items = 10_000
    batch_bytes = 500_000
    size = staticmethod(len)

    def __init__(self, url: str, service: str) -> None:
        host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
        query = f"service={quote(service, safe='')}&instance={quote(f'{host}:{os.getpid()}', safe='')}"
        self._sender = HttpSender(f"{url}{_PATH}?{query}", _HEADERS)
        self._deflates = not is_loopback(urlsplit(url).hostname or "")

    def encode(self, line: bytes) -> bytes:
        """Return the line as it is."""
        return line

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Post the lines, one below the other."""
        body = b"\n".join(items)
        if self._deflates and len(body) >= _LEAST_DEFLATED:
            from obskit.export.zipkin.exporters import gzipped

            return self._sender.post(gzipped(body), deadline, {"Content-Encoding": "gzip"})
        return self._sender.post(body, deadline)

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()


class LineShipper:
    """Queues lines for a collector. ``take`` waits for nothing and never raises; what finds no room is counted."""

    def __init__(self, url: str, service: str, limits: Limits) -> None:
        self._formatter = CloudLoggingFormatter()
        self._last: Any = None
        self._pid = os.getpid()
        self.pipeline = Pipeline(
            masked(url + _PATH), lambda: LineExporter(url, service), limits, "log lines", weigh=len
        )
        _shippers.add(self)

    def take(self, record: logging.LogRecord, line: str = "") -> None:
        """Queue a record, by the ``line`` that was made of it where that is JSON; another handler's again is left."""
        try:
            check_fork()
            if self._last is not None and self._last() is record:
                return
            self._last = weakref.ref(record)
            if self.pipeline.full:  # before the work of formatting
                self.pipeline.refuse()
                return
            text = line if line.startswith(_JSON) else self._formatter.format(record)
            self.pipeline.offer(text.rstrip("\n").encode("utf-8", "replace"))
        except Exception:
            failed("queueing a log line for the collector")

    def after_fork(self) -> None:
        """Start empty in a forked child; in the same process it does nothing."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.pipeline.after_fork()


_shippers: weakref.WeakSet[LineShipper] = weakref.WeakSet()


def _after_fork() -> None:
    for shipper in list(_shippers):
        shipper.after_fork()


on_fork(_after_fork)
