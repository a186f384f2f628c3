"""The handler for Cloud Logging's API: application threads only format a record and append it to a bounded queue."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from time import monotonic
from typing import Any

from obskit.base.failures import failed, tell
from obskit.base.failures import logger as our_logger
from obskit.base.process import check_fork, on_fork
from obskit.export.delivery.pipeline import Limits, Pipeline
from obskit.export.gcp.account import is_delivering
from obskit.export.gcp.endpoint import read_endpoint
from obskit.logs.cloud.delivery import CloudExporter, LogTarget
from obskit.logs.cloud.entry import log_id
from obskit.logs.cloud.monitored_resource import Resource
from obskit.logs.entry import EntryBuilder
from obskit.logs.formatter import CloudLoggingFormatter

LIMITS = Limits(capacity=10_000, batch_size=500, interval=1.0, timeout=10.0, size=16 * 1024 * 1024)
EXIT_TIMEOUT = 5.0
_ENDPOINT = "OBSKIT_CLOUDLOGGING_ENDPOINT"
_GOOGLE = "https://logging.googleapis.com"


class CloudLoggingHandler(logging.Handler):
    """Sends records to Cloud Logging's API. ``emit`` never waits for the network and never raises.

    The log's name is ``log_name``, or else ``service``. ``project``, ``resource`` (type and labels) and credentials
    (``key_file``: a service account's) are looked up on the worker thread if they are not given. The handler's
    formatter is not used: entries have the fields that ``logs="json"`` writes. While ``limits.capacity`` entries or
    ``limits.size`` bytes wait, further records are dropped, and counted in ``pipeline.stats()``.

    Raises ValueError for a malformed ``endpoint`` (default: OBSKIT_CLOUDLOGGING_ENDPOINT, or Google's).
    """

    def __init__(
        self,
        service: str = "",
        version: str | None = None,
        project: str | None = None,
        *,
        log_name: str | None = None,
        resource: tuple[str, dict[str, str]] | None = None,
        key_file: str | None = None,
        endpoint: str | None = None,
        builder: EntryBuilder | None = None,
        limits: Limits = LIMITS,
        exit_timeout: float = EXIT_TIMEOUT,
    ) -> None:
        super().__init__()
        text = endpoint or os.environ.get(_ENDPOINT) or _GOOGLE
        where = read_endpoint("endpoint" if endpoint else _ENDPOINT, text, os.environ, key_file, may_be_grpc=True)
        given = Resource(*resource, project or "", {}, partial=False) if resource else None
        self._target = LogTarget(where, log_id(log_name or service), project, key_file, given)
        if builder is None and (service or version):  # else the builder of obskit.init()
            builder = EntryBuilder(service, version, project)
        self._formatter = CloudLoggingFormatter(builder)
        self._exit_timeout = exit_timeout
        self._flushed = True
        self._told = False
        self._resting = False
        self._pid = os.getpid()
        self._one_at_a_time = threading.RLock()
        self.pipeline = Pipeline(where.address, self._build, limits, "log entries", len)
        _handlers.add(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, without the handler's lock: ``logging.shutdown`` holds it while it waits for the worker."""
        kept: Any = self.filter(record)  # from 3.12 on a filter may replace the record
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, unless Google's libraries logged it during a delivery. Never raises."""
        try:
            check_fork()
            if record.name == our_logger.name:
                _show(record)
            elif is_delivering():
                return
            with self._one_at_a_time:
                if self._resting:
                    self._resting = False
                    self.pipeline.reopen()
                if self.pipeline.full:  # checked before the cost of formatting
                    self.pipeline.refuse()
                else:
                    self.pipeline.offer(self._formatter.format(record).encode())
        except Exception:
            failed("queueing a log record")

    def flush(self) -> None:
        """Deliver the queued records, within the exit timeout."""
        if not self.pipeline.closed:
            self._flushed = self.pipeline.flush(monotonic() + self._patience())

    def _patience(self) -> float:
        """Return the seconds to wait for delivery: 0 within ``dictConfig``, whose lock delivery may need."""
        return 0.0 if _is_being_configured() else self._exit_timeout

    def close(self) -> None:
        """Deliver the queued records and stop, within the exit timeout, of which a failed flush just before is a part.

        The next record starts the worker again: ``dictConfig`` closes all handlers, but loggers keep theirs. So unless
        the program ends, records left over after the timeout are delivered later.
        """
        deadline = monotonic() + (self._patience() if self._flushed else 0.0)
        ending = not threading.main_thread().is_alive()
        if not self.pipeline.closed:
            self._resting = True
            self.pipeline.begin_close(deadline if ending else float("inf"))
            self.pipeline.close(deadline)
        left = self.pipeline.stats()["queued"]
        if left and ending and not self._told:
            self._told = True
            tell(logging.WARNING, "%d log entries were not delivered in time to %s", left, self.pipeline.destination)
        super().close()

    def begin_close(self) -> None:
        """Accept no more records, ever. Queued ones are delivered within the exit timeout, in the background."""
        self._resting = False
        self.pipeline.begin_close(monotonic() + self._exit_timeout)

    def after_fork(self) -> None:
        """Start empty in a forked child; do nothing in the same process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._one_at_a_time = threading.RLock()
            self.pipeline.after_fork()

    def _build(self) -> CloudExporter:
        return CloudExporter(self._target)


def _is_being_configured() -> bool:
    """Return whether this thread holds logging's lock, which the worker needs to import Google's libraries."""
    try:
        return bool(logging._lock._is_owned())  # type: ignore[attr-defined]
    except AttributeError:
        return False


def _show(record: logging.LogRecord) -> None:
    """Print a warning of obskit's to standard error: it may be about the very delivery of log records."""
    if logging.lastResort is not None and record.levelno >= logging.WARNING:
        logging.lastResort.handle(record)


_handlers: weakref.WeakSet[CloudLoggingHandler] = weakref.WeakSet()


def _after_fork() -> None:
    for handler in list(_handlers):
        handler.after_fork()


on_fork(_after_fork)
