"""Runs the collector: binds the port, serves on a thread of its own, stops when told."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from obskit.collector.intake.zipkin import Reception
from obskit.collector.metrics import Forwarding, Metrics, Source
from obskit.collector.options import DEFAULTS, Options
from obskit.collector.security import HostPolicy
from obskit.collector.spare_time import SpareTime
from obskit.collector.store.opening import open_store
from obskit.collector.store.spans import MAX_BYTES, MAX_SPANS
from obskit.collector.told import Told

if TYPE_CHECKING:
    from types import TracebackType

    import uvicorn

    from obskit.collector.store.spans import SpanStore
    from obskit.zipkin.model import Span

_START_TIMEOUT = 10.0  # seconds
_STOP_TIMEOUT = 5.0
_MOST_CONNECTIONS = 1_000


class Intake(Protocol):
    """A way in besides HTTP, such as gRPC."""

    transport: str  # its name in the metrics

    def source(self) -> Source | None:
        """Return the state of what it reads from; None where clients send to it."""

    def start(self, reception: Reception) -> None:
        """Begin to take messages. Raises OSError when it cannot listen."""

    def close(self) -> None:
        """End what is under way and take no more; also called where it did not start."""


class CollectorServer:
    """A Zipkin-compatible collector on a thread of this process; also a context manager.

    ``port`` 0 takes a free one. ``storage`` is ``memory`` or ``sqlite:///PATH``, bounded to ``max_spans``,
    ``max_bytes`` and ``max_age`` (seconds). ``allowed_hosts`` are names besides loopback and ``host`` that a Host
    header may have. ``intakes`` are other ways in than HTTP, which are open as long as it is. ``on_stored`` is called
    with the spans of each message that are new in the store, once they are there, and should not wait. ``on_start``
    is given the store before the first message; ``on_stop`` is called after the last one, before the store is closed.
    ``forwarding`` says what was passed on, for the metrics.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        storage: str = "memory",
        *,
        max_spans: int = MAX_SPANS,
        max_bytes: int = MAX_BYTES,
        max_age: float = float("inf"),
        allowed_hosts: Iterable[str] = (),
        intakes: Sequence[Intake] = (),
        on_stored: Callable[[list[Span]], None] | None = None,
        on_start: Callable[[SpanStore], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        forwarding: Callable[[], list[Forwarding]] = list,
        options: Options = DEFAULTS,
    ) -> None:
        self.host = host
        self.port = port
        self._storage = storage
        self._limits = (max_spans, max_bytes, max_age)
        self._allowed_hosts = tuple(allowed_hosts)
        self.intakes = intakes
        self._on_stored = on_stored
        self._on_start = on_start
        self._on_stop = on_stop
        self._forwarding = forwarding
        self._options = options
        self._told = Told()
        self._running: tuple[uvicorn.Server, threading.Thread, SpanStore] | None = None
        self._spare_time: SpareTime | None = None

    @property
    def url(self) -> str:
        """The address without a path, such as ``http://127.0.0.1:9411``; a wildcard host is shown as loopback."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def running(self) -> bool:
        """False before ``start``, after ``stop``, and when the server thread has died."""
        return self._running is not None and self._running[1].is_alive()

    def start(self) -> CollectorServer:
        """Listen and return; do nothing when it runs already.

        Raises ImportError without the extra, OSError when the port cannot be bound, ValueError or StoreError
        for the storage, RuntimeError when it does not start in time.
        """
        if self.running:
            return self
        serve = _server_factory()
        listener = _listen(self.host, self.port)
        try:
            store = open_store(self._storage, *self._limits, self._options)
        except Exception:
            listener.close()
            raise
        store.on_stored = self._on_stored
        if self._on_start is not None:
            self._on_start(store)
        try:
            transports = [self._open(intake, store) for intake in self.intakes]
            hosts = HostPolicy(self.host, self._allowed_hosts)
            shown = {"transports": transports, "forwarding": self._forwarding, "sources": self._sources}
            server, close = serve(store, hosts, self._options, told=self._told, **shown)
        except Exception:
            listener.close()
            self._end(store)
            raise
        self.port = listener.getsockname()[1]
        args = (server, listener, close)
        thread = threading.Thread(target=_run, args=args, name="obskit-collector", daemon=True)
        self._running = (server, thread, store)
        self._spare_time = SpareTime(store)
        thread.start()
        self._await_start(server, thread)
        return self

    def stop(self) -> None:
        """Finish the requests under way, for a few seconds at most, and close the storage."""
        if self._running is None:
            return
        server, thread, store = self._running
        server.should_exit = True
        thread.join(_STOP_TIMEOUT)
        self._end(store)
        self._running = None

    def _open(self, intake: Intake, store: SpanStore) -> Metrics:
        metrics = Metrics(intake.transport)
        intake.start(Reception(store, metrics, self._options.keep, self._told))
        return metrics

    def _sources(self) -> list[Source]:
        return [source for intake in self.intakes if (source := intake.source()) is not None]

    def _end(self, store: SpanStore) -> None:
        for intake in self.intakes:
            intake.close()
        if self._on_stop is not None:
            self._on_stop()
        if self._spare_time is not None:
            self._spare_time.stop()
        store.close()

    def _await_start(self, server: uvicorn.Server, thread: threading.Thread) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the collector did not start on {self.url}; the log has the reason")
            time.sleep(0.005)

    def __enter__(self) -> CollectorServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _server_factory() -> Callable[..., tuple[uvicorn.Server, Callable[[], None]]]:
    """Import the web framework, which is an extra, only when a collector is started.

    What is returned makes a server, and what ends its threads once it has stopped.
    """
    try:
        import uvicorn

        from obskit.collector.app import create_app
        from obskit.collector.connection import Connection
        from obskit.collector.workers import Workers
    except ModuleNotFoundError as error:
        raise ImportError(f"the collector needs {error.name}; run: pip install 'obskit[collector]'") from error

    def build(store: SpanStore, hosts: HostPolicy, *args: Any, **options: Any) -> Any:
        workers = Workers()
        config = uvicorn.Config(
            create_app(store, hosts, workers, *args, **options),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,  # the logging of the host process is not ours to configure
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS + 1,  # the first that is refused
            timeout_graceful_shutdown=2,
        )
        return uvicorn.Server(config), workers.close

    return build


def _run(server: uvicorn.Server, listener: socket.socket, close: Callable[[], None]) -> None:
    try:
        server.run([listener])
    finally:
        close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError when the address is taken or not of this machine."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        raise OSError(errno.EINVAL, f"{host!r} is not a host name") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)  # asyncio sets TCP_NODELAY only where the protocol is named
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener
