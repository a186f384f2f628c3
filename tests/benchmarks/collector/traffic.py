"""Traces of eight services over the last hour, and the messages in which each service reports its own spans."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

from obskit.zipkin.model import Endpoint, Span

HOUR = 3_600_000_000  # microseconds
RARE = ("rare", "needle")  # a tag that one trace in 20,011 has
SPANS = 7  # of a trace
_EVERY_RARE = 20_011
_EVERY_FAILED = 50
_TOGETHER = 100  # traces whose spans are reported together
_GATEWAY = Endpoint("gateway", "10.0.0.1")
_NAMES = ("cart", "mail", "pay", "shop", "stock", "users", "web")
_OTHERS = [Endpoint(name, f"10.0.1.{n}") for n, name in enumerate(_NAMES)]
SERVICES = ("gateway", *_NAMES)


class Traffic:
    """``spans`` spans that end now; ``salt`` makes another set of traces of them."""

    def __init__(self, spans: int, salt: int = 0) -> None:
        self.traces = max(spans // SPANS, 1)
        self.end = int(time.time() * 1_000_000)
        self._step = HOUR // self.traces
        self._salt = salt << 48

    def trace_id(self, number: int) -> str:
        """The id of one of the traces."""
        return f"{((number + 1) * 0x9E3779B97F4A7C15 ^ self._salt) & 0xFFFFFFFFFFFFFFFF:016x}"

    def messages(self) -> Iterator[list[Span]]:
        """All spans, as their services report them: those of a hundred traces at a time."""
        for first in range(0, self.traces, _TOGETHER):
            by_service: dict[str, list[Span]] = defaultdict(list)
            for number in range(first, min(first + _TOGETHER, self.traces)):
                self._add_trace(number, by_service)
            yield from by_service.values()

    def _add_trace(self, number: int, by_service: dict[str, list[Span]]) -> None:
        """A request to the gateway, which calls three services."""
        trace_id, begin = self.trace_id(number), self.end - HOUR + number * self._step
        duration = 2_000 + (number * 7_919) % 30_000 + 400_000 * (number % 1_009 == 0)
        tags = {"http.method": "GET", "http.path": f"/orders/{number}", "http.status_code": "200"}
        if number % _EVERY_RARE == _EVERY_RARE // 2:
            tags[RARE[0]] = RARE[1]
        root = Span(trace_id=trace_id, id=trace_id, kind="SERVER", name="get /orders/{id}", timestamp=begin)
        root.duration, root.local_endpoint, root.tags = duration, _GATEWAY, tags
        by_service["gateway"].append(root)
        for call in range(3):
            other = _OTHERS[(number + call * 3) % len(_OTHERS)]
            client, server = self._call(root, number, call)
            client.local_endpoint, client.remote_endpoint, server.local_endpoint = _GATEWAY, other, other
            by_service["gateway"].append(client)
            by_service[other.service_name or ""].append(server)

    @staticmethod
    def _call(root: Span, number: int, call: int) -> tuple[Span, Span]:
        """Both sides of a call."""
        tags = {"http.method": "GET", "http.path": f"/items/{number % 977}"}
        if (number + call) % _EVERY_FAILED == 0:
            tags["error"] = "503"
        begin, duration = (root.timestamp or 0) + 300 + call * 600, 400 + number % 97
        name = f"get /items/{(number + call) % 5}"
        ids = [f"{int(root.id, 16) ^ (0xABC0 + 2 * call + side):016x}" for side in (1, 2)]
        usual = {"trace_id": root.trace_id, "name": name, "tags": tags}
        return (
            Span(id=ids[0], parent_id=root.id, kind="CLIENT", timestamp=begin, duration=duration + 180, **usual),
            Span(id=ids[1], parent_id=ids[0], kind="SERVER", timestamp=begin + 90, duration=duration, **usual),
        )
