"""Traces that turn out to matter: recorded though not sampled, and kept only if they fail or take long.

The decision falls when the local root (the first span of a trace in this process) ends. Until then nobody else is
told: the trace is propagated as not sampled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import repeat

from opentelemetry.trace import SpanKind, StatusCode

from obskit.base.values import is_error
from obskit.tracing.limits import SMALL
from obskit.tracing.sampling.rate import Refusal, SamplingCounts
from obskit.tracing.span import Span, span_weight

# The bytes leave room for as many spans as that with ten small tags each; those are bounded by their number.
_SPANS = 10_000
_BYTES = 32 * 1024 * 1024
_SPANS_PER_TRACE = 1000
_BYTES_PER_TRACE = 4 * 1024 * 1024
_NANOSECONDS = 1_000_000_000

Report = Callable[[Span], object]


class Tail:
    """Decides on held traces: those with an error are kept if ``errors``, those of ``slow`` seconds and more too.

    All held traces together hold at most ``capacity`` spans that ended, each open root counting as one, and 32 MB as
    ``span_weight`` counts them; a trace holds at most 1000 and 4 MB besides its root. What does not fit is counted.
    """

    def __init__(self, errors: bool, slow: float | None, counts: SamplingCounts, capacity: int = _SPANS) -> None:
        self._errors = errors
        self._slow = float("inf") if slow is None else slow * _NANOSECONDS
        self._capacity = capacity
        self.counts = counts
        self.room: deque[None] = deque(repeat(None, capacity))  # popping from it is how a thread takes a place
        self.bytes = 0

    @property
    def held(self) -> int:
        """The number of places taken."""
        return self._capacity - len(self.room)

    def hold(self, root: Span, verdict: Refusal) -> bool:
        """Hold the trace of which ``root`` is the first span here; return False where all places are taken."""
        try:
            self.room.pop()
        except IndexError:
            self.counts.not_held.add()
            return False
        root.held = Held(self, verdict, root.span_id)
        root.sampled = root.debug = False
        root.inherits = True
        return True

    def reason(self, root: Span) -> str | None:
        """Return why a trace is kept whose ``root`` ended: an entry of ``counts.kept``, or None where it is not."""
        if self._errors and _failed(root):
            return "error"
        return "slow" if (root.end_ns or 0) - root.start_ns >= self._slow else None


class Held:
    """One trace that waits for its local root to end. Its spans share it; no register knows it.

    A span is put down before the fate is looked at, and the fate decided before the spans are picked up: whichever
    threads do it, each span is picked up once.
    """

    __slots__ = ("_bytes", "_kept", "_root_id", "_spans", "_tail", "_verdict")

    def __init__(self, tail: Tail, verdict: Refusal, root_id: str) -> None:
        self._tail = tail
        self._verdict = verdict
        self._root_id = root_id  # not the span itself: a circle would be left to the garbage collector
        self._spans: deque[Span] = deque()
        self._bytes = 0
        self._kept: bool | None = None

    def take(self, span: Span, keep: Report, discard: Report) -> None:
        """Take a span that ended. With the root all go to ``keep`` or to ``discard``, later ones at once."""
        is_root = span.span_id == self._root_id
        if self._kept is not None:
            self._fate(keep, discard)(span)
        elif not is_root and not self._fits(SMALL * span_weight(span)):
            self._tail.counts.spans_lost.add()
            discard(span)
        else:
            self._spans.append(span)
            if is_root:
                self._kept = self._decide(span)
            if self._kept is not None:
                self._hand_over(self._fate(keep, discard))

    def _fate(self, keep: Report, discard: Report) -> Report:
        return keep if self._kept else discard

    def _fits(self, weight: int) -> bool:
        """Take room for a span; return False where there is none."""
        tail = self._tail
        too_heavy = self._bytes + weight > _BYTES_PER_TRACE or tail.bytes + weight > _BYTES
        if too_heavy or len(self._spans) >= _SPANS_PER_TRACE:
            return False
        try:
            tail.room.pop()
        except IndexError:
            return False
        tail.bytes += weight  # no other thread comes between: CPython switches at calls and jumps only
        self._bytes += weight
        return True

    def _decide(self, root: Span) -> bool:
        reason = self._tail.reason(root)
        if reason is not None:
            self._tail.counts.kept[reason].add()
        elif self._verdict:
            self._verdict.add()
        return reason is not None

    def _hand_over(self, receive: Report) -> None:
        self._give_bytes_back()
        while self._spans:
            try:
                span = self._spans.popleft()
            except IndexError:  # another thread took the last one
                return
            self._tail.room.append(None)
            receive(span)

    def _give_bytes_back(self) -> None:
        weight, self._bytes = self._bytes, 0
        self._tail.bytes -= weight

    def __del__(self) -> None:
        """Give back the places of a trace whose root never ended; it counts as one that is not kept."""
        if self._kept is None:
            self._tail.room.extend(repeat(None, 1 + len(self._spans)))
            self._give_bytes_back()
            if self._verdict:
                self._verdict.add()


def _failed(span: Span) -> bool:
    """Return whether a local root is an error: by tag or status, but not a 4xx, which is the caller's own."""
    error = span.tags.get("error")
    if not is_error(error):
        return span.status.status_code is StatusCode.ERROR
    status = span.tags.get("http.status_code")
    return not (span.kind is SpanKind.SERVER and error == status and str(status).startswith("4"))
