"""Sends the spans of a block to one destination until each is accepted, or refused for good.

A batch that is refused for what is in it is sent in halves, so that one bad span takes no other with it. Some servers
answer a span that they cannot take as if they were ill themselves (a Zipkin over gRPC: INTERNAL). Whether they are, the
other spans tell: one is given up only where it fails again and again while another is accepted each time in between.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failed
from obskit.export.delivery.attempts import Backoff, encoded_batches, send_in_halves

if TYPE_CHECKING:
    from obskit.export.delivery.exporter import Exporter, Outcome
    from obskit.zipkin.model import Span

_ATTEMPT = 10.0  # seconds for one attempt to send
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds between two attempts
_MOST_REFUSALS = 40  # of a block that are answered by sending halves: enough to find three bad spans among 500
_FOR_CONTENT = ("http_400", "http_422", "grpc_invalid_argument")  # a refusal that may be due to one span
_DOUBTFUL = ("http_500", "grpc_internal", "grpc_unknown")  # due to one span, or the server is ill
_TRIES = 3  # of a part with such an answer, before its halves are tried
_SURE = 6  # failures of a span, another being accepted before each, after which it is given up
_FIRST_DOUBT = 1.0  # seconds between the first two of these; half a minute for all


class Sending:
    """The way to one destination. Only its own thread sends and counts; ``ending`` ends pauses early."""

    def __init__(self, destination: str, ending: threading.Event) -> None:
        self.destination = destination
        self.ends = float("inf")  # of the monotonic clock: the deadline for all of it
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        self.trouble = ""  # why spans wait
        self._ending = ending
        self._late = False  # whether the deadline has passed with spans left to send
        self._refusals = 0  # of parts of a block, for what is in them
        self._accepted: Any = None  # the span that was accepted last
        self._suspects: list[Any] = []  # spans that failed alone
        self._searching = False  # whether a part failed that may have such a span
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    def send_all(self, exporter: Exporter, spans: list[Span]) -> bool:
        """Send spans until each is delivered or refused; return False if the deadline passes before that."""
        self._refusals = 0
        for batch in encoded_batches(exporter, spans, self._drop_unencodable):
            send_in_halves(batch, partial(self._must_be_halved, exporter))
            self._judge_suspects(exporter)
            self._searching = False
            if self._late:
                return False
        return True

    def _drop_unencodable(self) -> None:
        failed(f"encoding a span for {self.destination}")
        self.dropped["unencodable"] += 1

    def _must_be_halved(self, exporter: Exporter, part: list[Any], last: bool) -> bool:
        """Send a part, unless the deadline has passed, and count it; return whether it must be sent in halves."""
        outcome = None if self._late else self._send(exporter, part)
        if outcome is None:
            self._late = True
        elif not last and (outcome.too_large or outcome.retry or self._may_be_of_one(outcome)):
            self._searching = True
            return True
        elif outcome.retry:
            self._suspects += part
        else:
            self._count(part, outcome)
        return False

    def _may_be_of_one(self, outcome: Outcome) -> bool:
        """Return whether one span of a part may be why all were refused, unless that was so too often in this block."""
        for_content = outcome.reason in _FOR_CONTENT
        self._refusals += for_content
        return for_content and self._refusals <= _MOST_REFUSALS

    def _count(self, part: list[Any], outcome: Outcome) -> None:
        self.trouble = ""
        if outcome.reason:
            self.dropped[outcome.reason] += len(part)
        else:
            self.sent += len(part) - outcome.rejected
            self.dropped["rejected"] += outcome.rejected

    def _send(self, exporter: Exporter, part: list[Any]) -> Outcome | None:
        """Retry until the outcome is final, or stays doubtful though another span is accepted (or none was so far).

        Return None if the deadline passes before that.
        """
        tries, is_well = 0, False
        while True:
            outcome = self._try(exporter, part)
            if not outcome.retry or (is_well and outcome.reason in _DOUBTFUL):
                return outcome
            if not self._pause(outcome, self._backoff):
                return None
            tries += outcome.reason in _DOUBTFUL
            is_well = tries >= _TRIES and (self._accepted is None or self._is_well(exporter))

    def _try(self, exporter: Exporter, part: list[Any]) -> Outcome:
        outcome = exporter.send(part, min(monotonic() + _ATTEMPT, self.ends))
        if not outcome.retry:
            self._backoff.reset()
        if not outcome.reason and not outcome.rejected:
            self._accepted = part[-1]
        return outcome

    def _is_well(self, exporter: Exporter) -> bool:
        """Return whether a span is accepted that was before: servers know identical spans as one."""
        return self._accepted is not None and not self._try(exporter, [self._accepted]).reason

    def _judge_suspects(self, exporter: Exporter) -> None:
        """Try spans that failed alone until each is accepted, or it is sure that none of the others ever will be."""
        backoff, failures = Backoff(_FIRST_DOUBT, _LONGEST_PAUSE), 0
        while self._suspects and not self._late:
            is_well = self._is_well(exporter)
            failure = self._try_suspects(exporter)
            if failure is None:
                return
            failures += is_well and failure.reason in _DOUBTFUL
            if failures >= _SURE:
                self._give_up(failure)
            else:
                self._late = not self._pause(failure, backoff)

    def _try_suspects(self, exporter: Exporter) -> Outcome | None:
        """Send each alone; return why the last of those failed that did, None where all have an outcome."""
        failure: Outcome | None = None
        suspects, self._suspects = self._suspects, []
        for suspect in suspects:
            is_away = failure is not None and failure.reason not in _DOUBTFUL
            outcome = failure if failure is not None and is_away else self._try(exporter, [suspect])
            if outcome.retry:
                failure = outcome
                self._suspects.append(suspect)
            else:
                self._count([suspect], outcome)
        return failure

    def _give_up(self, outcome: Outcome) -> None:
        number = len(self._suspects)
        self._count(self._suspects, outcome)
        self._say(f"{outcome.detail or outcome.reason}; given up: {number} spans, while others are accepted")
        self._suspects = []

    def _pause(self, outcome: Outcome, backoff: Backoff) -> bool:
        """Wait before the next attempt; return False if the deadline comes first."""
        if not self.trouble and not self._searching:
            self._say(f"{outcome.detail or outcome.reason}; spans wait")
        self.trouble = outcome.reason
        pause = backoff.pause()
        if monotonic() + pause > self.ends:
            return False
        if self._ending.is_set():
            sleep(pause)
        else:
            self._ending.wait(max(pause, min(outcome.retry_after, _LONGEST_PAUSE)))
        return True

    def _say(self, text: str) -> None:
        print(f"obskit collector: {self.destination}: {text}", file=sys.stderr, flush=True)
