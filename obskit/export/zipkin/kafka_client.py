"""One librdkafka producer: made here, asked for one acknowledgement at a time, and ended without waiting for it.

librdkafka's threads do not cross a fork, and the end of a producer waits for them: a second in a child, where there
are none, and as long as a look-up of a host takes in its own process.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from obskit.base.native_threads import start_thread
from obskit.base.values import one_line
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.zipkin.kafka_url import KafkaTarget

_DEFAULTS: dict[str, Any] = {
    "client.id": "obskit",
    "compression.type": "lz4",  # in a thread of librdkafka's, which needs no interpreter
    "linger.ms": 0,  # a batch is one message: there is nothing to wait for
    "reconnect.backoff.max.ms": 250,  # the pipeline has pauses of its own
    "topic.metadata.propagation.max.ms": 5000,  # less than an attempt takes: else it would not say what is missing
}
_OURS = {"log_level": 0, "delivery.report.only.error": False}  # librdkafka's log is standard error
_GRACE = 0.7  # seconds in which a name's other addresses are tried, and a broker that restarts comes back
_RECENT = 0.4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
_NO_ANSWER = Outcome(UNREACHABLE, "no broker acknowledged the spans in time", retry=True)
_UNREACHABLE = frozenset([KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._SSL, KafkaError._MSG_TIMED_OUT])
_PERMANENT = {
    KafkaError._AUTHENTICATION: "unauthenticated",
    KafkaError.SASL_AUTHENTICATION_FAILED: "unauthenticated",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "permission_denied",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "permission_denied",
    KafkaError.MSG_SIZE_TOO_LARGE: "kafka_too_large",
    KafkaError.INVALID_REQUIRED_ACKS: "bad_setting",
    KafkaError._INVALID_ARG: "bad_setting",
    KafkaError._STATE: "bad_setting",
}
_names_secret = re.compile(r"password|secret|token|jaas|key|pem|oauth", re.IGNORECASE).search
_quoted_value = re.compile(r'(?<=value )"[^"]*"')


class Client:
    """Produces to one topic. Not thread-safe; of use only in the process that made it.

    One that listens hears why no broker can be reached. What it hears piles up while nothing is produced, some two
    events a second: it is not for keeping.
    """

    def __init__(self, target: KafkaTarget, listens: bool) -> None:
        """Make the producer; it connects when it has something to send. Raises Misconfigured."""
        self._target = target
        self._pid = os.getpid()
        self._heard = _Heard()
        options = {**_DEFAULTS, **target.settings, **_OURS, "bootstrap.servers": target.brokers}
        if listens:
            options["error_cb"] = self._heard.note
        try:
            self._producer = Producer(options)
        except (KafkaException, TypeError, ValueError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise Misconfigured(
                Outcome("bad_setting", f"{self._one_line(reason)}; what follows '?' are librdkafka's settings")
            ) from None
        _immortal(self._producer)

    def produce(self, body: bytes, headers: dict[str, str], deadline: float) -> Outcome:
        """Send one message and wait until it is acknowledged, refused or too late, or no broker can be reached.

        Waits in small steps of ``time.sleep``, not in librdkafka: under gevent everything else would wait, too.
        """
        answers: list[KafkaError | None] = []
        try:
            self._producer.produce(
                self._target.topic, body, headers={**headers}, on_delivery=lambda error, _: answers.append(error)
            )
        except KafkaException as error:
            return self._failure(error.args[0])
        pause = _FIRST_PAUSE
        while not answers and not self._heard.enough and (left := deadline - monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._producer.poll(0)
        if answers:
            return DELIVERED if answers[0] is None else self._failure(answers[0])
        return self._silence()

    def close(self) -> None:
        """Drop what is unacknowledged, and end, without waiting for it; in a forked child, do nothing."""
        if os.getpid() != self._pid:
            return
        last = [self._producer]  # a reference of this function's would make it wait after all
        del self._producer
        try:
            start_thread("obskit-kafka-end", _end, last)  # also under gevent one of the system's: librdkafka blocks it
        except RuntimeError:  # no more threads, or the interpreter ends: the process's end is the producer's
            pass

    def _silence(self) -> Outcome:
        """Say why nothing came back. What one broker of several said, the password, say, is no verdict of all."""
        error = self._heard.error
        if error is None:
            return _NO_ANSWER
        if self._heard.enough:
            return self._failure(error)
        return _NO_ANSWER._replace(detail=f"{_NO_ANSWER.detail}; {self._one_line(error.str())}")

    def _failure(self, error: KafkaError) -> Outcome:
        code, detail = error.code(), self._one_line(error.str())
        if code in _UNREACHABLE:
            return Outcome(UNREACHABLE, detail, retry=True)
        reason = _PERMANENT.get(code) or f"kafka_{error.name().strip('_').lower()}"
        return Outcome(reason, detail, code not in _PERMANENT, too_large=code == KafkaError.MSG_SIZE_TOO_LARGE)

    def _one_line(self, text: str) -> str:
        """Return what librdkafka says, without the secrets it was given."""
        for name, value in self._target.settings.items():
            if value and _names_secret(name):
                text = text.replace(value, "***")
        return one_line(_quoted_value.sub("***", text))


class Misconfigured(Exception):
    """librdkafka does not take a setting, as ``outcome`` says."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


class _Heard:
    """What went wrong between the producer and its brokers, and whether that is enough to give up."""

    def __init__(self) -> None:
        self.error: KafkaError | None = None
        self._began = self._last = monotonic()
        self._all_down = False

    def note(self, error: KafkaError) -> None:
        """Take an event of librdkafka's."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._all_down = True
        else:
            self.error, self._last = error, monotonic()

    @property
    def enough(self) -> bool:
        """Whether no broker could be reached for a while, and still cannot: no event says when one is reached."""
        now = monotonic()
        return self._all_down and now - self._began > _GRACE and now - self._last < _RECENT


def _immortal(producer: Producer) -> None:
    """Keep the interpreter from ending ``producer`` by itself: not in a forked child, not at its own end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))


def _end(last: list[Producer]) -> None:
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(last[0]))
    last.clear()
