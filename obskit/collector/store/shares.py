"""Which services make room in a full store: those that hold more than their share.

The share of each is an equal part of half of what is stored. The other half is for what came last, so that the traces
of services which are about equally busy grow old together, and are whole for as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

_SHARED = 0.5  # of what is stored
_SLACK = 1.1  # times its share, from where on a service makes room: not for each span that comes


class Shares:
    """What each service holds, in spans and in bytes of their JSON."""

    def __init__(self, rows: Iterable[tuple[int, int, int]] = ()) -> None:
        self._spans: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self.add({service: (spans, size) for service, spans, size in rows})

    def add(self, services: Mapping[int, tuple[int, int]], sign: int = 1) -> None:
        """Counts what was stored for services, or, with ``sign`` -1, what is no longer."""
        for service, (spans, size) in services.items():
            self._spans[service] += sign * spans
            self._bytes[service] += sign * size
            if self._spans[service] <= 0:
                del self._spans[service], self._bytes[service]

    def excess(self, *, in_bytes: bool) -> dict[int, float]:
        """By how much some services are above their share. One is, always: the one with the most."""
        held = self._bytes if in_bytes else self._spans
        share = _SHARED * held.total() / max(len(held), 1)
        return {service: amount - share for service, amount in held.items() if amount > share * _SLACK}
