"""Which requests the processes are serving, as they last said."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl

from obskit.base.told_losses import LONGEST
from obskit.base.told_running import MOST, Request, Running

_MOST_PROCESSES = 1_000
FORGOTTEN = 600  # seconds after a process has said something for the last time
_is_number = re.compile(r"[0-9]{1,9}").fullmatch
_request = re.compile(r"([0-9]{1,12})-([0-9a-f]{16,32})").fullmatch


class Word(NamedTuple):
    """What a process said, and when (epoch microseconds)."""

    at: int
    running: Running


class RunningRequest(NamedTuple):
    """A request that was still running when its process last said something, ``told`` (epoch microseconds)."""

    service: str
    instance: str
    began: int
    trace_id: str
    told: int


class ToldRunning:
    """The last word of each process. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: OrderedDict[tuple[str, str], Word] = OrderedDict()

    def note(self, header: str | None) -> None:
        """Take what a message's header says, if it says something."""
        running = _decode(header) if header else None
        if running is None:
            return
        process = running.service, running.instance
        with self._lock:
            self._words[process] = Word(time.time_ns() // 1_000, running)
            self._words.move_to_end(process)
            if len(self._words) > _MOST_PROCESSES:
                self._words.popitem(last=False)

    def number(self, service: str = "") -> int:
        """Return how many are running, of one service or of all, also those that are not named."""
        return sum(word.running.number for word in self._recent(service))

    def oldest(self, service: str = "") -> list[RunningRequest]:
        """Return those that are named, the oldest first."""
        found = [request for word in self._recent(service) for request in _requests(word)]
        return sorted(found, key=lambda request: request.began)

    def _recent(self, service: str) -> list[Word]:
        first = time.time_ns() // 1_000 - FORGOTTEN * 1_000_000
        with self._lock:
            words = list(self._words.values())
        return [word for word in words if word.at >= first and service in ("", word.running.service)]


def _requests(word: Word) -> Iterator[RunningRequest]:
    for age, trace_id in word.running.oldest:
        yield RunningRequest(word.running.service, word.running.instance, word.at - age * 1_000, trace_id, word.at)


def _decode(text: str) -> Running | None:
    """Return what a header says; None if it is malformed."""
    try:
        pairs = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=10)) if len(text) <= LONGEST else {}
    except ValueError:
        return None
    service, instance, number, oldest = (pairs.get(name, "") for name in ("service", "instance", "number", "oldest"))
    found = [_request(one) for one in oldest.split()]
    if not (service and instance and _is_number(number)) or len(found) > MOST or None in found:
        return None
    return Running(service.lower(), instance, int(number), [Request(int(one[1]), one[2]) for one in found if one])
