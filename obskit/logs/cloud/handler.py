"""The handler: on the application's threads a record becomes a line and joins a bounded queue, and nothing more."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from time import monotonic
from typing import Any, cast

from obskit.export.ledger import QUEUE_FULL
from obskit.export.pipeline import Limits, Pipeline
from obskit.logs.cloud.delivery import DELIVERING, CloudExporter, Target
from obskit.logs.cloud.endpoint import parse
from obskit.logs.cloud.entry import log_id
from obskit.logs.cloud.resource import Resource
from obskit.logs.entry import EntryBuilder
from obskit.logs.formatter import CloudLoggingFormatter
from obskit.tracing.current import get_context
from obskit.tracing.failures import failed, tell
from obskit.tracing.failures import logger as our_logger
from obskit.tracing.process import check_fork, on_fork

LIMITS = Limits(capacity=10_000, batch_size=500, interval=1.0, timeout=10.0)
QUEUE_BYTES = 16 * 1024 * 1024
EXIT_TIMEOUT = 5.0


class CloudLoggingHandler(logging.Handler):
    """Sends records to Cloud Logging's API. ``emit`` waits for no network, and never raises.

    ``service`` names the log unless ``log_name`` does. ``project``, the ``resource`` (its type and labels) and
    credentials (``key_file``: a service account's) are found on the worker's thread where they are not given. The
    handler's formatter is not used: entries have the fields that ``logs="json"`` writes. When ``limits.capacity``
    entries or ``queue_bytes`` wait, further records are dropped, and counted in ``pipeline.stats()``.

    Raises ValueError for an ``endpoint`` (default: OBSKIT_CLOUDLOGGING_ENDPOINT, or Google's) of neither form.
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
        queue_bytes: int = QUEUE_BYTES,
        exit_timeout: float = EXIT_TIMEOUT,
    ) -> None:
        super().__init__()
        where = parse(endpoint or os.environ.get("OBSKIT_CLOUDLOGGING_ENDPOINT"), os.environ, key_file)
        given = Resource(*resource, project or "", {}, partial=False) if resource else None
        self._target = Target(where, log_id(log_name or service), project, key_file, given)
        if builder is None and (service or version):  # else it is obskit.init()'s
            builder = EntryBuilder(service, version, project)
        self._formatter = CloudLoggingFormatter(builder)
        self._capacity = limits.capacity
        self._queue_bytes = queue_bytes
        self._exit_timeout = exit_timeout
        self._flushed = True
        self._told = False
        self._pid = os.getpid()
        self._one_at_a_time = threading.RLock()
        # The pipeline is typed for spans, but looks at none of them.
        self.pipeline = Pipeline(where.address, cast("Any", self._build), limits, "log entries", self._new_queue)
        _handlers.add(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit. Without the handler's lock: ``logging.shutdown`` holds it while it waits for the worker."""
        kept: Any = self.filter(record)  # from 3.12 on a filter may replace the record
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, unless Google's libraries made it while they deliver others. Never raises."""
        try:
            check_fork()
            if record.name == our_logger.name:
                _show(record)
            elif get_context().get(DELIVERING):
                return
            with self._one_at_a_time:
                if self._is_full():  # before the work of formatting
                    self._refuse()
                else:
                    self._offer(self._formatter.format(record).encode())
        except Exception:
            failed("queueing a log record")

    def flush(self) -> None:
        """Deliver what was queued, within the exit timeout."""
        if not self.pipeline.closed:
            self._flushed = self.pipeline.flush(monotonic() + self._exit_timeout)

    def close(self) -> None:
        """Deliver what is queued and stop, within the exit timeout; a flush that failed just before used it up."""
        if not self.pipeline.closed:
            self.pipeline.close(monotonic() + (self._exit_timeout if self._flushed else 0.0))
        left = self.pipeline.stats()["queued"]
        if left and not self._told:
            self._told = True
            tell(logging.WARNING, "%d log entries were not delivered in time to %s", left, self.pipeline.destination)
        super().close()

    def renew(self) -> None:
        """Start empty in a forked child; in the same process it does nothing."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._one_at_a_time = threading.RLock()
            self.pipeline.renew()

    def _offer(self, line: bytes) -> None:
        if self._queue.size + len(line) > self._queue_bytes:
            self._refuse()
        else:
            self.pipeline.offer(cast("Any", line))

    def _is_full(self) -> bool:
        return len(self._queue) >= self._capacity or self._queue.size >= self._queue_bytes

    def _refuse(self) -> None:
        self.pipeline.ledger.refused[QUEUE_FULL].add()

    def _new_queue(self) -> deque[Any]:
        self._queue = _ByteQueue()
        return self._queue

    def _build(self) -> CloudExporter:
        return CloudExporter(self._target)


class _ByteQueue(deque[bytes]):
    """Knows how many bytes wait: those put in, by one thread at a time, less those taken out, by one as well."""

    def __init__(self) -> None:
        super().__init__()
        self._put = self._taken = 0

    @property
    def size(self) -> int:
        return self._put - self._taken

    def append(self, line: bytes) -> None:
        self._put += len(line)
        super().append(line)

    def popleft(self) -> bytes:
        line = super().popleft()
        self._taken += len(line)
        return line


def _show(record: logging.LogRecord) -> None:
    """Print a warning of our own: it may be about the way by which it would be delivered."""
    if logging.lastResort is not None and record.levelno >= logging.WARNING:
        logging.lastResort.handle(record)


_handlers: weakref.WeakSet[CloudLoggingHandler] = weakref.WeakSet()


def _renew_all() -> None:
    for handler in list(_handlers):
        handler.renew()


on_fork(_renew_all)
