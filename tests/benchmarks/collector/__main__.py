"""Our collector, which writes to disk, beside a Zipkin server, which keeps spans in memory: one run, in turns.

The figures are CPU seconds per million spans, resident memory, and the time of queries; docs/scaling.md has some.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from obskit.zipkin import json_v2, proto3_encode
from obskit.zipkin.model import Span
from tests.benchmarks.collector import sides
from tests.benchmarks.collector.filling import fill
from tests.benchmarks.collector.queries import ask, percentiles
from tests.benchmarks.collector.sides import Side
from tests.benchmarks.collector.traffic import Traffic
from tests.zipkin_server import Unavailable

_ENCODINGS: dict[str, tuple[str, Callable[[list[Span]], bytes]]] = {
    "JSON": ("application/json", json_v2.encode_list),
    "proto3": ("application/x-protobuf", proto3_encode.encode_list),
}
_MESSAGES = 40  # of a turn
_WARM_UP = 0.2  # of the turns: the Java machine compiles what is used much


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="make bench-collector", description=__doc__)
    parser.add_argument("--spans", type=int, default=200_000, help="how many are stored (default %(default)s)")
    parser.add_argument("--turns", type=int, default=40, help="times that each query is asked (default %(default)s)")
    parser.add_argument("--alone", action="store_true", help="our collector alone, on a file written without HTTP")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "spans.db"
        if options.alone:
            traffic = Traffic(options.spans)
            fill(path, traffic)
            begun = time.perf_counter()
            running = [stack.enter_context(sides.ours(path))]
            print(f"process that opens it: up after {time.perf_counter() - begun:.2f} s")
        else:
            try:
                running = [stack.enter_context(sides.ours(path)), stack.enter_context(sides.zipkin())]
            except Unavailable as error:
                print(f"bench-collector: {error}; --alone measures without Zipkin", file=sys.stderr)
                return 1
            for name in _ENCODINGS:
                traffic = Traffic(options.spans // len(_ENCODINGS), salt=len(name))
                _ingest(running, traffic, name)
        _report_memory(running)
        _report_queries(running, traffic, options.turns)
        _report_memory(running)
    return 0


def _ingest(running: list[Side], traffic: Traffic, name: str) -> None:
    """Sends the same messages to each server in turns, and prints the CPU of what comes after the warm-up."""
    kind, encode = _ENCODINGS[name]
    spent, spans = {side.name: 0.0 for side in running}, 0
    done = 0
    for messages in _turns(traffic):
        bodies = [encode(message) for message in messages]
        count = sum(map(len, messages))
        done += count
        warm = done > traffic.traces * 7 * _WARM_UP
        spans += count * warm
        for side in running:
            before = side.cpu()
            for body in bodies:
                side.post("/api/v2/spans", body, kind)
            _await_stored(side, messages[-1][-1])
            spent[side.name] += (side.cpu() - before) * warm
    figures = {side: seconds / spans * 1e6 for side, seconds in spent.items()}
    ratio = figures[sides.OURS] / figures[sides.ZIPKIN]
    texts = ", ".join(f"{side} {figure:.1f}" for side, figure in figures.items())
    print(f"{name}: CPU s per million spans: {texts}; ratio {ratio:.2f} ({spans} spans)", flush=True)


def _turns(traffic: Traffic) -> Iterator[list[list[Span]]]:
    turn: list[list[Span]] = []
    for message in traffic.messages():
        turn.append(message)
        if len(turn) == _MESSAGES:
            yield turn
            turn = []
    if turn:
        yield turn


def _await_stored(side: Side, last: Span) -> None:
    """Waits until the last span can be read: Zipkin answers before it stores."""
    while last.id.encode() not in side.get(f"/api/v2/trace/{last.trace_id}")[0]:
        time.sleep(0.01)


def _report_memory(running: list[Side]) -> None:
    print("memory, MB: " + ", ".join(f"{side.name} {side.memory() / 1e6:.0f}" for side in running), flush=True)


def _report_queries(running: list[Side], traffic: Traffic, turns: int) -> None:
    for name, times in ask(running, traffic, turns).items():
        found = {side: percentiles(its) for side, its in times.items()}
        texts = [f"{side} {first:.1f} / {half:.1f} / {most:.1f}" for side, (first, half, most) in found.items()]
        ratio = f"; ratio of p50 {found[sides.OURS][1] / found[sides.ZIPKIN][1]:.3f}" if len(found) > 1 else ""
        print(f"{name}: ms first / p50 / p99: {', '.join(texts)}{ratio}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
