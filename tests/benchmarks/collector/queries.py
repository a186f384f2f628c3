"""What is asked of both servers: the searches that people make, with other values at every turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from urllib.parse import urlencode

from tests.benchmarks.collector.sides import Side
from tests.benchmarks.collector.traffic import RARE, SERVICES, Traffic

_HOUR = 3_600_000
_Path = Callable[[Traffic, int], str]


def _search(**params: str) -> _Path:
    def path(traffic: Traffic, turn: int) -> str:
        chosen = {
            name: value.format(service=SERVICES[turn % len(SERVICES)], turn=turn % 5) for name, value in params.items()
        }
        window = {"endTs": traffic.end // 1000 + 60_000 - turn * 1_000, "lookback": _HOUR + 60_000}
        return "/api/v2/traces?" + urlencode({**chosen, **window, "limit": "10"})

    return path


QUERIES: dict[str, _Path] = {
    "by service": _search(serviceName="{service}"),
    "service and name": _search(serviceName="cart", spanName="get /items/{turn}"),
    "recent": _search(),
    "by tag": _search(annotationQuery="http.path=/items/{turn}"),
    "errors": _search(serviceName="{service}", annotationQuery="error"),
    "a rare tag": _search(annotationQuery="=".join(RARE)),
    "a tag that is nowhere": _search(annotationQuery="rare=missing{turn}"),
    "min duration": _search(serviceName="gateway", minDuration="400000"),
    "by id": lambda traffic, turn: f"/api/v2/trace/{traffic.trace_id(turn * 7_919 % traffic.traces)}",
    "dependencies of an hour": lambda traffic, turn: (
        f"/api/v2/dependencies?endTs={traffic.end // 1000 + 60_000 - turn * 1_000}&lookback={_HOUR + 60_000}"
    ),
}


def ask(sides: list[Side], traffic: Traffic, turns: int) -> dict[str, dict[str, list[float]]]:
    """For each query and server, the milliseconds of each turn; servers take turns."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, path in QUERIES.items():
        times: dict[str, list[float]] = {side.name: [] for side in sides}
        for turn in range(turns):
            for side in sides if turn % 2 else reversed(sides):
                times[side.name].append(side.get(path(traffic, turn))[1] * 1000)
        found[name] = times
    return found


def percentiles(times: list[float]) -> tuple[float, float, float]:
    """The first, the median and the one that 99 of 100 do not exceed."""
    ordered = sorted(times)
    return times[0], statistics.median(ordered), ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
