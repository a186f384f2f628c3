"""Spans from Kafka: one message is one list of spans, in any of Zipkin's formats, told by its first bytes.

Source: ``KafkaCollectorWorker`` and ``SpanBytesDecoderDetector`` of openzipkin/zipkin 3.6.1.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failed, tell
from obskit.base.told_losses import HEADER
from obskit.collector.intake.zipkin import (
    JSON_V1,
    JSON_V2,
    PROTO3,
    THRIFT,
    Decoded,
    Format,
    Reception,
    Rejected,
    Store,
)
from obskit.collector.metrics import Source
from obskit.collector.store.database import StoreError
from obskit.collector.store.eviction import TooMany
from obskit.zipkin import thrift_decode

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

    from obskit.zipkin.model import Span

_DEFAULTS: dict[str, Any] = {
    "client.id": "obskit-collector",
    "group.id": "zipkin",
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": True,  # as with Java's consumers
    "session.timeout.ms": 10_000,  # the partitions of a collector that was killed are another's after this
    "queued.max.messages.kbytes": 16_384,  # what is fetched ahead
}
_OURS = {
    "enable.auto.commit": False,
    "statistics.interval.ms": 2_000,
    "log_level": 0,
}  # librdkafka's log is standard error
_AT_ONCE = 100  # messages between two commits
_WAIT = 0.5  # seconds: so long an empty topic, or the end, is not noticed
_ANSWER = 3.0  # seconds that brokers have to say where a topic ends; what they are asked waits behind a fetch
_PAUSE = 1.0  # seconds until a store that fails is tried again
_STOP_TIMEOUT = 5.0
_THRIFT_LIST = 12
_LARGEST_TYPE = 16  # of thrift
_ONE_STRUCT = b"\x0c\0\0\0\1"
_quoted_value = re.compile(r'(?<=value )"[^"]*"')


class KafkaIntake:
    """Reads ``topic`` of ``brokers``; ``settings`` are librdkafka's, such as ``group.id``.

    Raises ImportError without confluent-kafka, ValueError for a setting that librdkafka does not take.
    """

    transport = "kafka"

    def __init__(self, brokers: str, topic: str, settings: Mapping[str, str]) -> None:
        try:
            from confluent_kafka import Consumer, KafkaException
        except ModuleNotFoundError as error:
            raise ImportError("spans from Kafka need confluent-kafka; run: pip install 'obskit[kafka]'") from error
        self._where = f"Kafka, topic {topic} of {brokers}"
        self._topic = topic
        options = {**_DEFAULTS, **settings, **_OURS, "bootstrap.servers": brokers}
        self._source = Source("kafka", f"KafkaCollector{{bootstrapServers={brokers}, topic={topic}}}")
        try:
            self._consumer: Consumer = Consumer({**options, "error_cb": self._note, "stats_cb": self._report})
        except KafkaException as error:
            raise ValueError(_quoted_value.sub("***", error.args[0].str())) from None
        self._failure = KafkaException
        self._trouble = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def __str__(self) -> str:
        return self._where

    def source(self) -> Source:
        """Return the state of the connection to the topic."""
        return self._source

    def start(self, reception: Reception) -> None:
        """Begin to read, or to wait for the brokers."""
        self._reception = replace(reception, store=_PatientStore(reception.store, self._wait))
        self._consumer.subscribe([self._topic])
        self._thread = threading.Thread(target=self._run, name="obskit-kafka", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Store what was begun, and leave the group."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._read_some()
        self._consumer.close()

    def _read_some(self) -> None:
        """Wait for a message, and store it and what else is there."""
        try:
            first = self._consumer.poll(_WAIT)
            if first is not None and self._take([first]) and self._take(self._consumer.consume(_AT_ONCE - 1, 0)):
                self._commit()
        except Exception:
            failed("reading spans from Kafka")
            self._ending.wait(_PAUSE)

    def _take(self, messages: list[Message]) -> bool:
        """Store the spans of messages; return False if the end came before all of them are stored."""
        for message in messages:
            if error := message.error():
                self._note(error)
            elif not self._store(message.value() or b"", _headers(message)):
                return False
        return True

    def _store(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Store a message, or leave it out for good; return False if the end came while the store still failed."""
        try:
            self._reception.take(read, body, headers)
        except StoreError:
            return False
        except Rejected as error:
            self._note(f"a message is left out: {error}")
        except Exception:  # it would fail again
            failed("reading a message from Kafka")
        return True

    def _wait(self, error: StoreError) -> None:
        """Pause before the store is tried again, for as long as it takes; at the end, raise its error."""
        self._note(f"storage failed: {error}; messages wait")
        self._source = self._source._replace(lag=self._lag())  # librdkafka reports only to who asks for messages
        if self._ending.wait(_PAUSE):
            raise error

    def _lag(self) -> int | None:
        """Ask the brokers how many messages are behind what was committed; None if they do not say."""
        deadline = time.monotonic() + _ANSWER
        try:
            places = self._consumer.committed(self._consumer.assignment(), _ANSWER)
            left = (max(deadline - time.monotonic(), 0) for _ in places)
            ends = [self._consumer.get_watermark_offsets(*asked) for asked in zip(places, left, strict=True)]
        except self._failure:
            return None
        behind = [last - max(place.offset, first) for place, (first, last) in zip(places, ends, strict=True)]
        return sum(behind) if behind else None  # without a partition it is another's, or nobody's

    def _commit(self) -> None:
        """Tell the brokers how far this group has come. Where that fails, messages come again."""
        try:
            self._consumer.commit(asynchronous=False)
        except self._failure as error:
            self._note(error.args[0])

    def _note(self, trouble: object) -> None:
        """Report what goes wrong, once: also an error of librdkafka's."""
        text = str(trouble)
        self._source = self._source._replace(troubles=self._source.troubles + 1, last_trouble=text)
        if text != self._trouble:
            self._trouble = text
            tell(logging.WARNING, "obskit collector: %s: %s", self._where, text)

    def _report(self, statistics: str) -> None:
        """Take a statistic of librdkafka's: whether a broker is connected, and how far behind it is."""
        found = json.loads(statistics)
        connected = any(broker["state"] == "UP" for broker in found["brokers"].values())
        partitions = found["topics"].get(self._topic, {}).get("partitions", {})
        lags = [one["consumer_lag"] for one in partitions.values() if one["consumer_lag"] >= 0]
        self._source = self._source._replace(connected=connected, lag=sum(lags) if lags else None)


def _headers(message: Message) -> dict[str, str]:
    """Return what the sender says that it lost; what else it says was so when it sent this."""
    told = dict(message.headers() or ()).get(HEADER)
    return {HEADER: told.decode("ascii", "replace")} if isinstance(told, bytes) else {}


class _PatientStore:
    """A store that is tried again where it fails, unless ``wait`` raises the error."""

    def __init__(self, store: Store, wait: Callable[[StoreError], None]) -> None:
        self._store = store
        self._wait = wait

    def add(self, spans: Sequence[Span], lines: Sequence[bytes] | None = None) -> None:
        """Store the spans. Raises TooMany, or what ``wait`` raises."""
        while not self._added(spans, lines):
            pass

    def _added(self, spans: Sequence[Span], lines: Sequence[bytes] | None) -> bool:
        try:
            self._store.add(spans, lines)
        except TooMany:
            raise
        except StoreError as error:
            self._wait(error)
            return False
        return True


def read(body: bytes) -> Decoded:
    """Return the spans of a message, whatever its format. Raises Rejected or DecodeError."""
    if len(body) == 1:
        raise Rejected(400, "a message of one byte")
    if _is_one_thrift_span(body):
        return thrift_decode.decode_list(_ONE_STRUCT + body), None
    return _format(body).decode(body)


def _is_one_thrift_span(body: bytes) -> bool:
    """Return True for what very old reporters send: a span that is in no list."""
    return body[0] <= _LARGEST_TYPE and body[0] != _THRIFT_LIST and not PROTO3.begins(body)


def _format(body: bytes) -> Format:
    if PROTO3.begins(body):
        return PROTO3
    if body[0] == _THRIFT_LIST:
        return THRIFT
    if not body.startswith(b"["):
        raise Rejected(400, "a message in no format of Zipkin's")
    is_second = any(mark in body for mark in JSON_V1.other[1])
    return JSON_V2 if is_second else JSON_V1
