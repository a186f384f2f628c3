"""Forwards the spans that a collector stores, through the exporters that applications use.

The spans that wait are in the collector's database (``Outbox``). Each destination has a position there and a thread,
which sends in order of arrival until the destination has accepted or refused each span. So an unreachable destination
does not delay the others.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, cast

from obskit.base.failures import failed
from obskit.export.delivery.attempts import Backoff, encoded_batches, send_in_halves
from obskit.export.destinations import Making, parse
from obskit.export.net.url import masked
from obskit.tracing.current import attach, suppressed

if TYPE_CHECKING:
    from obskit.collector.metrics import Forwarding
    from obskit.collector.store.outbox import Outbox
    from obskit.collector.store.spans import SpanStore
    from obskit.export.delivery.exporter import Exporter, Outcome
    from obskit.zipkin.model import Span

_ATTEMPT = 10.0  # seconds for one attempt to send
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds between two attempts
_IDLE = 1.0  # seconds until a thread looks for spans again if it is not woken
_MOST_REFUSALS = 40  # of a block that are answered by sending halves: enough to find three bad spans among 500
_FOR_CONTENT = ("http_400", "http_422", "grpc_invalid_argument")  # a refusal that may be due to one span
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
    """One destination. Only its own thread sends and counts."""

    def __init__(self, destination: str, build: Callable[[], Exporter], prepare: Prepare) -> None:
        self.destination = destination
        self.wake = threading.Event()
        self._build = build
        self._prepare = prepare
        self._exporter: Exporter | None = None
        self._ending = threading.Event()
        self._ends = float("inf")
        self._late = False  # whether the deadline has passed with spans left to send
        self._refusals = 0  # of parts of a block, for what is in them
        self._dropped: Counter[str] = Counter()
        self._trouble = ""
        self._sent = 0
        self._waiting = 0
        self._outbox: Outbox | None = None
        self._thread: threading.Thread | None = None

    def start(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._thread = threading.Thread(target=self._run, args=(outbox,), name="obskit-forward", daemon=True)
        self._thread.start()

    def end(self, deadline: float) -> None:
        self._ends = deadline
        self._ending.set()
        self.wake.set()

    def join(self, deadline: float) -> None:
        if self._thread is not None:
            self._thread.join(max(deadline - monotonic(), 0) + 1.0)

    def counts(self) -> Forwarding:
        from obskit.collector.metrics import Forwarding

        waiting = self._outbox.count() if self._outbox else 0
        return Forwarding(self.destination, self._sent, sum(self._dropped.copy().values()), waiting)

    def report(self, *, in_memory: bool) -> Iterator[str]:
        missed = Counter(self._dropped)
        if self._waiting and in_memory:
            missed[self._trouble or "not sent in time"] += self._waiting
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
                self._dropped["deleted before they were sent"] += waiting.missed
                if not self._send_all(self._prepare(waiting.spans)):
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

    def _send_all(self, spans: list[Span]) -> bool:
        """Send spans until each is delivered or refused; return False if the deadline passes before that.

        A batch that is refused for what is in it is sent in halves, so that one bad span takes no other with it.
        """
        exporter = self._exporter = self._exporter or self._build()
        self._refusals = 0
        for batch in encoded_batches(exporter, spans, self._drop_unencodable):
            send_in_halves(batch, partial(self._must_be_halved, exporter))
            if self._late:
                return False
        return True

    def _drop_unencodable(self) -> None:
        failed(f"encoding a span for {self.destination}")
        self._dropped["unencodable"] += 1

    def _must_be_halved(self, exporter: Exporter, part: list[Any], last: bool) -> bool:
        """Send a part, unless the deadline has passed, and count it; return whether it must be sent in halves."""
        outcome = None if self._late else self._send(exporter, part)
        if outcome is None:
            self._late = True
        elif not last and (outcome.too_large or self._may_be_of_one(outcome)):
            return True
        elif outcome.reason:
            self._dropped[outcome.reason] += len(part)
        else:
            self._sent += len(part) - outcome.rejected
            self._dropped["rejected"] += outcome.rejected
        return False

    def _may_be_of_one(self, outcome: Outcome) -> bool:
        """Return whether one span of a part may be why all were refused, unless that was so too often in this block."""
        for_content = outcome.reason in _FOR_CONTENT
        self._refusals += for_content
        return for_content and self._refusals <= _MOST_REFUSALS

    def _send(self, exporter: Exporter, part: list[Any]) -> Outcome | None:
        """Retry until the outcome is final; return None if the deadline passes before that."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            outcome = exporter.send(part, min(monotonic() + _ATTEMPT, self._ends))
            if not outcome.retry:
                self._trouble = ""
                return outcome
            self._note(outcome)
            pause = backoff.pause()
            if monotonic() + pause > self._ends:
                return None
            if self._ending.is_set():
                sleep(pause)
            else:
                self._ending.wait(max(pause, min(outcome.retry_after, _LONGEST_PAUSE)))

    def _note(self, outcome: Outcome) -> None:
        if not self._trouble:
            print(
                f"obskit collector: {self.destination}: {outcome.detail or outcome.reason}; spans wait",
                file=sys.stderr,
                flush=True,
            )
        self._trouble = outcome.reason


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
