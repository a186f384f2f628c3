"""Forwards the spans that a collector stores, through the exporters that applications use.

The spans that wait are in the collector's database (``Outbox``). Each destination has a position there and a thread,
which sends in order of arrival until the destination has accepted or refused each span. So an unreachable destination
does not delay the others.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from obskit.base.failures import failed
from obskit.cli.forward_sending import Sending
from obskit.export.destinations import Making, parse
from obskit.export.net.url import masked
from obskit.tracing.current import attach, suppressed

if TYPE_CHECKING:
    from obskit.collector.metrics import Forwarding
    from obskit.collector.store.outbox import Outbox
    from obskit.collector.store.spans import SpanStore
    from obskit.export.delivery.exporter import Exporter
    from obskit.zipkin.model import Span

_IDLE = 1.0  # seconds until a thread looks for spans again if it is not woken
_CLOUD_TRACE = "cloudtrace://"
_FORMS = (
    "an http(s):// or grpc(s):// URL of a Zipkin server, kafka://BROKERS/TOPIC, cloudtrace://PROJECT, console, or none"
)

Prepare = Callable[[list["Span"]], list["Span"]]


class Forwarder:
    """Forwards spans to several destinations, each with its own thread.

    Raises ValueError for a bad URL, naming the remedy.
    """

    def __init__(self, urls: list[str]) -> None:
        self._routes = [route for url in urls if (route := _route(url)) is not None]
        self._in_memory = False

    @property
    def destinations(self) -> list[str]:
        """Return the destinations, without passwords."""
        return [route.destination for route in self._routes]

    def start(self, store: SpanStore) -> None:
        """Begin to send the spans that wait in ``store``."""
        self._in_memory = store.name == "memory"
        for route in self._routes:
            route.start(store.outbox(route.destination))

    def counts(self) -> list[Forwarding]:
        """Return, for each destination, how many spans were sent, were lost, and wait."""
        return [route.counts() for route in self._routes]

    def wake(self, _spans: list[Span]) -> None:
        """Wake the threads, as spans were stored."""
        for route in self._routes:
            route.wake.set()

    def close(self, timeout: float) -> None:
        """Send the spans that wait, within ``timeout`` seconds."""
        deadline = monotonic() + timeout
        for route in self._routes:
            route.end(deadline)
        for route in self._routes:
            route.join(deadline)

    def report(self) -> list[str]:
        """Return a line for each destination for which spans were lost or wait."""
        return [line for route in self._routes for line in route.report(in_memory=self._in_memory)]


class _Route:
    """One destination, with a thread of its own."""

    def __init__(self, destination: str, build: Callable[[], Exporter], prepare: Prepare) -> None:
        self.destination = destination
        self.wake = threading.Event()
        self._build = build
        self._prepare = prepare
        self._exporter: Exporter | None = None
        self._ending = threading.Event()
        self._sending = Sending(destination, self._ending)
        self._waiting = 0
        self._outbox: Outbox | None = None
        self._thread: threading.Thread | None = None

    def start(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._thread = threading.Thread(target=self._run, args=(outbox,), name="obskit-forward", daemon=True)
        self._thread.start()

    def end(self, deadline: float) -> None:
        self._sending.ends = deadline
        self._ending.set()
        self.wake.set()

    def join(self, deadline: float) -> None:
        if self._thread is not None:
            self._thread.join(max(deadline - monotonic(), 0) + 1.0)

    def counts(self) -> Forwarding:
        from obskit.collector.metrics import Forwarding

        waiting = self._outbox.count() if self._outbox else 0
        return Forwarding(self.destination, self._sending.sent, sum(self._sending.dropped.copy().values()), waiting)

    def report(self, *, in_memory: bool) -> Iterator[str]:
        missed = Counter(self._sending.dropped)
        if self._waiting and in_memory:
            missed[self._sending.trouble or "not sent in time"] += self._waiting
        reasons = ", ".join(f"{count} {reason}" for reason, count in missed.items() if count)
        if reasons:
            yield f"spans not forwarded to {self.destination}: {reasons}"
        if self._waiting and not in_memory:
            yield f"{self._waiting} spans wait for {self.destination}; the next start sends them"

    def _run(self, outbox: Outbox) -> None:
        attach(suppressed())  # forwarding itself is not traced
        while self._turn(outbox):
            pass
        try:
            self._waiting = outbox.count()
            if self._exporter is not None:
                self._exporter.close()
        except Exception:
            failed(f"closing the way to {self.destination}")

    def _turn(self, outbox: Outbox) -> bool:
        """Send a block, or wait for one; return False once closed."""
        try:
            waiting = outbox.next()
            if waiting is not None:
                self._sending.dropped["deleted before they were sent"] += waiting.missed
                exporter = self._exporter = self._exporter or self._build()
                if not self._sending.send_all(exporter, self._prepare(waiting.spans)):
                    return False
                outbox.done(waiting)
                return True
        except Exception:
            failed(f"forwarding spans to {self.destination}")
            self._ending.wait(_IDLE)
        if self._ending.is_set():
            return False
        self.wake.wait(_IDLE)
        self.wake.clear()
        return True


def forward_urls(given: list[str], environ: Mapping[str, str]) -> list[str]:
    """Return the URLs of ``--forward``; without any, Cloud Trace if the variables of zipkin-gcp's server ask for it."""
    project = environ.get("PROJECT_ID")
    if given or not project or not environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return given
    return [_CLOUD_TRACE + project]


def is_cloud_trace(url: str) -> bool:
    """Return whether spans sent there go to Google, for which credentials are needed."""
    return url.startswith(_CLOUD_TRACE)


def _route(url: str) -> _Route | None:
    if url.startswith("otel:"):
        raise ValueError(f"{url!r} accepts OpenTelemetry spans only; name a server that accepts Zipkin's")
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("PROJECT_ID") or ""
    try:
        plan = parse(url).plan
    except ValueError as error:
        raise ValueError(f"got {masked(url)!r}; give {_FORMS} ({error})") from None
    prepare = _for_cloud_trace if is_cloud_trace(url) else _for_zipkin
    if plan is None:
        return None
    destination, build = plan(Making(lambda: _as_it_is, cast("Any", None), project))
    return _Route(destination, build, prepare)


def _as_it_is(span: Span) -> Span:
    return span


def _for_zipkin(spans: list[Span]) -> list[Span]:
    from obskit.zipkin.model import sendable

    return sendable(spans)


def _for_cloud_trace(spans: list[Span]) -> list[Span]:
    from obskit.export.cloud_trace.translation import separate

    return separate(spans)
