"""A file as full as a collector's may get: requests, lines and profiles of ten services, written without HTTP."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from obskit.collector.lines.line import Line
from obskit.collector.lines.store import LineStore
from obskit.collector.profiles.stacks import Frame, Labels, of_samples
from obskit.collector.profiles.store import Kept, ProfileStore
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Endpoint, Span

HOUR = 3_600_000_000  # microseconds
ENTRIES = 2  # requests of a trace: one to the front, and the one that this sends
_ROUTES = 12  # of a service
_TOGETHER = 100  # traces or lines of a message
_FRONT = Endpoint("front", "10.0.0.1")
_BEHIND = [Endpoint(f"back-{number}", f"10.0.1.{number}") for number in range(9)]
_MINUTE = 60_000_000


def fill(path: Path, requests: int, lines: int, profiles: int, hours: float) -> None:
    """Store so many, spread over the hours that end now."""
    end = int(time.time() * 1_000_000)
    store = SpanStore(str(path), max_spans=10**9, max_bytes=10**12)
    begun = time.process_time()
    for message in _messages(requests // ENTRIES, end, int(hours * HOUR)):
        store.add(message)
    store.cells.update()
    begun = _report("request", requests, begun)
    kept = LineStore(store.database, 10**12)
    for batch in _lines(lines, end, int(hours * HOUR)):
        kept.add(batch)
    begun = _report("line", lines, begun)
    _add_profiles(ProfileStore(store.database, 10**12), profiles, end, int(hours * HOUR))
    _report("profile", profiles, begun)
    store.close()


def _report(what: str, number: int, begun: float) -> float:
    now = time.process_time()
    print(f"{number:,} of a {what}, µs of CPU each, making it included: {(now - begun) / number * 1e6:.0f}", flush=True)
    return now


def trace_id(number: int) -> str:
    """The id of one of the traces."""
    return f"{(number + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016x}{number + 1:016x}"


def _messages(traces: int, end: int, length: int) -> Iterator[list[Span]]:
    """The spans of the front and of each service behind it, as they report them."""
    chance = random.Random(1)
    for first in range(0, traces, _TOGETHER):
        by_service: dict[str, list[Span]] = defaultdict(list)
        for number in range(first, min(first + _TOGETHER, traces)):
            begin = end - length + number * length // traces
            took = int(chance.lognormvariate(10, 0.7))
            for span in _trace(number, begin - took, took, {"error": "503"} if chance.random() < 0.01 else {}):
                assert span.local_endpoint
                by_service[span.local_endpoint.service_name or ""].append(span)
        yield from by_service.values()


def _trace(number: int, begin: int, took: int, failed: dict[str, str]) -> Iterator[Span]:
    behind, route = _BEHIND[number % len(_BEHIND)], number % _ROUTES
    ids = [f"{number * 4 + place + 1:016x}" for place in range(3)]
    tags = {"http.method": "GET", "http.path": f"/orders/{number % 9_973}", "http.status_code": "200", **failed}
    places = (
        (None, "SERVER", f"get /orders/{route}", _FRONT, None, 0),
        (ids[0], "CLIENT", f"get /items/{route}", _FRONT, behind, took // 8),
        (ids[1], "SERVER", f"get /items/{route}", behind, None, took // 6),
    )
    for its_id, (parent, kind, name, at, to, after) in zip(ids, places, strict=True):
        span = Span(trace_id=trace_id(number), id=its_id, parent_id=parent, kind=kind, name=name)
        span.timestamp, span.duration, span.tags = begin + after, max(took - 2 * after, 1), tags
        span.local_endpoint, span.remote_endpoint = at, to
        yield span


def _lines(number: int, end: int, length: int) -> Iterator[list[Line]]:
    chance = random.Random(2)
    for first in range(0, number, _TOGETHER):
        service = f"back-{first // _TOGETHER % len(_BEHIND)}"
        yield [
            Line(
                time=end - length + place * length // number,
                severity=chance.choices((200, 400, 500, 600), (970, 20, 9, 0.1))[0],
                service=service,
                logger="shop.orders",
                message=f"order {place % 99_991} took {chance.randrange(5_000)} ms, customer {chance.randrange(9_999)}",
                trace=trace_id(place // 2),
                fields={"size": place % 7},
            )
            for place in range(first, min(first + _TOGETHER, number))
        ]


def _add_profiles(store: ProfileStore, number: int, end: int, length: int) -> None:
    """Half of the profiles are of the front. Each has some three hundred different samples of two thousand stacks."""
    chance = random.Random(3)
    stacks = _stacks(chance)
    for place in range(number):
        service = "front" if place % 2 else f"back-{place // 2 % len(_BEHIND)}"
        begin = end - length + place * length // number
        samples = [
            (stack, chance.randrange(1, 40) * 10_000_000, _labels(chance, place * 2 < number))
            for stack in chance.choices(stacks, k=330)
        ]
        store.add(Kept(service, "wall", "nanoseconds", begin, begin + 10_000_000), of_samples(samples))


def _stacks(chance: random.Random) -> list[list[Frame]]:
    """Branches of one tree of calls, 12 to 45 deep."""
    known: list[list[Frame]] = [[("main", "/app/main.py", 3)]]
    for number in range(6_000):
        start = chance.choice(known)
        if len(start) < 45:
            module = chance.randrange(60)
            path = f"/app/{module}.py" if module < 20 else f"/usr/lib/python3.13/site-packages/lib/{module}.py"
            known.append([*start, (f"function_{number % 900}", path, 10 + number % 300)])
    return sorted(known, key=len)[-2_000:]


def _labels(chance: random.Random, is_old: bool) -> Labels:
    route = ("http.route", f"/orders/{chance.randrange(_ROUTES)}")
    thread, version = ("thread", f"worker-{chance.randrange(4)}"), ("service.version", "1.0" if is_old else "1.1")
    traced = (("trace_id", trace_id(chance.randrange(400_000))),) if chance.random() < 0.3 else ()
    return (route, thread, version, *traced)
