"""Minutes of load with a receiver that comes and goes: memory, threads and the ledger are watched. ``make soak``.

Prints a line every ten seconds, and ends with status 1 where memory grows, threads multiply or a span is missing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import obskit
from tests.export.receiver import Receiver, free_port, receiver

_EVERY = 10.0
_MOST_SLOPE = 1.0  # MB a minute, after the first third
_THREADS = 4
_FILLS = 10.0  # seconds in which four threads fill the queue


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--spool", action="store_true", help="keep on disk what cannot be delivered")
    options = parser.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/v2/spans"
    with tempfile.TemporaryDirectory() as folder:
        spool = folder if options.spool else None
        obskit.init(service="soak", exporter=url, integrations=[], logs="off", spool=spool, backpressure=False)
        return _soak(options.minutes * 60, port)


def _soak(seconds: float, port: int) -> int:
    end = time.monotonic() + seconds
    stop = threading.Event()
    made = [0] * _THREADS
    arrived: list[int] = []
    workers = [threading.Thread(target=_work, args=[stop, made, number]) for number in range(_THREADS)]
    workers.append(threading.Thread(target=_flap, args=[stop, port, arrived]))
    for worker in workers:
        worker.start()
    samples = _watch(end)
    stop.set()
    for worker in workers:
        worker.join()
    with receiver(port=port) as server:
        obskit.flush(20)
        arrived.append(_count(server))
    obskit.shutdown(20)
    return _verdict(samples, sum(made), sum(arrived))


def _work(stop: threading.Event, made: list[int], number: int) -> None:
    while not stop.wait(0.01):
        for _ in range(random.randrange(10)):
            with obskit.span("work", worker=number, text="x" * random.randrange(2000)):
                made[number] += 1


def _flap(stop: threading.Event, port: int, arrived: list[int]) -> None:
    """Be away until the queue has been full, which takes the most memory; then listen and be away in turns."""
    stop.wait(_FILLS)
    while not stop.is_set():
        away_at = time.monotonic() + random.uniform(1, 5)
        with receiver(port=port) as server:
            while time.monotonic() < away_at and not stop.wait(0.1):
                arrived.append(_count(server))
        arrived.append(_count(server))
        stop.wait(random.uniform(0.1, 3))


def _count(server: Receiver) -> int:
    """Return how many spans came, and forget them."""
    server.heads.clear()
    return sum(server.bodies.pop(0).count(b'"traceId"') for _ in range(len(server.bodies)))


def _watch(end: float) -> list[tuple[float, float, int]]:
    samples = []
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(_EVERY, left))
        samples.append((time.monotonic(), _resident(), _native_threads()))
        moment = obskit.stats()["exporters"][0]
        print(f"{samples[-1][1]:.1f} MB, {samples[-1][2]} threads, {json.dumps(moment)}", flush=True)
    return samples


def _resident() -> float:
    """Return the megabytes of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _verdict(samples: list[tuple[float, float, int]], made: int, arrived: int) -> int:
    ledger: dict[str, Any] = obskit.stats()["exporters"][0]
    known = ledger["delivered"] + sum(ledger["dropped"].values()) + ledger["spooled"] + ledger["queued"]
    slope = _slope(samples[len(samples) // 3 :])
    threads = max(count for *_, count in samples)
    print(f"slope {slope:+.2f} MB a minute, {threads} threads at most, {made} made, {arrived} arrived, {ledger}")
    sound = made == ledger["produced"] == known and arrived >= ledger["delivered"]
    flat = slope <= _MOST_SLOPE and threads <= _THREADS + 40  # the receiver has a thread for each connection
    return 0 if sound and flat else 1


def _slope(samples: list[tuple[float, float, int]]) -> float:
    """Return the megabytes a minute of the least squares' line."""
    times, sizes = [one[0] / 60 for one in samples], [one[1] for one in samples]
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((moment - middle) ** 2 for moment in times)
    pairs = zip(times, sizes, strict=True)
    return sum((moment - middle) * (size - mean) for moment, size in pairs) / spread if spread else 0.0


if __name__ == "__main__":
    sys.exit(main())
