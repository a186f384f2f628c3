"""What processes say that they lost before it came here, by service, since the start of the collector."""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict
from urllib.parse import parse_qsl

from obskit.base.told_losses import LONGEST, Losses

_MOST_QUEUES = 1_000  # of processes, that are told apart; of others the last word stands
_MOST_SERVICES = 200
_OTHERS = "other services"
_is_ledger = re.compile(r"[0-9a-f]{16}").fullmatch
_is_reason = re.compile(r"[a-z0-9_]{1,60}").fullmatch
_is_number = re.compile(r"[0-9]{1,15}").fullmatch

ByReason = Counter[tuple[str, str]]
"""How many, by what they are (``spans``, ``log lines``) and why they were lost."""


class ToldLosses:
    """The last word of each queue of each process, which counts from its begin. Any thread may call it.

    Counts only grow, so the last word is that with the largest: Kafka's partitions come in any order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, Losses] = OrderedDict()
        self._ended: dict[str, ByReason] = {}

    def note(self, header: str | None) -> None:
        """Take what a message's header says, if it says something."""
        losses = _decode(header) if header else None
        if losses is None:
            return
        with self._lock:
            before = self._queues.get(losses.ledger)
            self._queues[losses.ledger] = max(losses, before or losses, key=_total)
            self._queues.move_to_end(losses.ledger)
            if len(self._queues) > _MOST_QUEUES:
                _add(self._ended, self._queues.popitem(last=False)[1])

    def by_service(self) -> dict[str, ByReason]:
        """Return what each service has lost."""
        with self._lock:
            found = {service: its.copy() for service, its in self._ended.items()}
            for losses in self._queues.values():
                _add(found, losses)
        return found


def _total(losses: Losses) -> int:
    return sum(losses.dropped.values())


def _add(found: dict[str, ByReason], losses: Losses) -> None:
    service = losses.service if losses.service in found or len(found) < _MOST_SERVICES else _OTHERS
    its = found.setdefault(service, Counter())
    for reason, number in losses.dropped.items():
        its[losses.items, reason] += number


def _decode(text: str) -> Losses | None:
    """Return what a header says; None if it is malformed."""
    try:
        pairs = dict(parse_qsl(text, strict_parsing=True, max_num_fields=40)) if len(text) <= LONGEST else {}
    except ValueError:
        return None
    ledger, service, items = (pairs.pop(name, "") for name in ("ledger", "service", "items"))
    is_right = all(_is_reason(reason) and _is_number(number) for reason, number in pairs.items())
    if not (is_right and _is_ledger(ledger) and service and items in {"spans", "log lines"}):
        return None
    return Losses(ledger, service.lower(), items, {reason: int(number) for reason, number in pairs.items()})
