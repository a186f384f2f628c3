"""Which services are evicted from in a full store: those that hold more than their share.

Half of the store is divided equally among the services; the other half is for the newest spans of any. So the traces
of services that are about equally busy are evicted at the same age, and stay complete until then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

_SHARED = 0.5  # of the stored spans or bytes
# A service may hold this many times its share, so that not every arriving span causes an eviction.
_SLACK = 1.1


class Shares:
    """How much each service holds, in spans and in bytes of their JSON."""

    def __init__(self, rows: Iterable[tuple[int, int, int]] = ()) -> None:
        self._spans: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self.add({service: (spans, size) for service, spans, size in rows})

    def add(self, services: Mapping[int, tuple[int, int]], sign: int = 1) -> None:
        """Add what was stored for services; with ``sign`` -1, subtract what was deleted."""
        for service, (spans, size) in services.items():
            self._spans[service] += sign * spans
            self._bytes[service] += sign * size
            if self._spans[service] <= 0:
                del self._spans[service], self._bytes[service]

    def excess(self, *, in_bytes: bool) -> dict[int, float]:
        """Return by how much services exceed their share. The largest one always does."""
        held = self._bytes if in_bytes else self._spans
        share = _SHARED * held.total() / max(len(held), 1)
        return {service: amount - share for service, amount in held.items() if amount > share * _SLACK}
