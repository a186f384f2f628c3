"""What one sample costs, by the number of threads and how many of them have run since the last one.

Run it with any Python that has obskit: ``python tests/benchmarks/profiler_sample.py``.
"""

from __future__ import annotations

import sys
import threading
from statistics import median
from time import perf_counter, sleep

from obskit.profiling.sampler import Sampler
from obskit.profiling.threads import Identities

ROUNDS = 300


def park(depth: int, go: threading.Event) -> None:
    """Wait at the end of a stack of ``depth`` frames."""
    if depth > 3:
        park(depth - 1, go)
    else:
        go.wait()


def measure(threads: int, depth: int, moving: bool) -> tuple[float, float]:
    """Return the microseconds of a sample: the middle, and the least, of many."""
    go = threading.Event()
    parked = [threading.Thread(target=park, args=(depth - 3, go)) for _ in range(threads)]
    for thread in parked:
        thread.start()
    sleep(0.2)
    sampler = Sampler(100, Identities())
    sampler._first_look()
    times = []
    for number in range(ROUNDS):
        if moving and sampler._thread_clocks is not None:  # as if each had run
            sampler._thread_clocks._readings = [-2] * len(sampler._threads)
            for seen in sampler._threads.values():
                seen.cpu -= 1
        began = perf_counter()
        sampler.sample(number)
        times.append(perf_counter() - began)
    go.set()
    for thread in parked:
        thread.join()
    return median(times) * 1e6, min(times) * 1e6


print(f"Python {sys.version.split()[0]}, microseconds (middle, least of {ROUNDS})")
for threads, depth, moving in ((1, 50, False), (20, 50, False), (200, 50, False), (1, 50, True), (20, 50, True)):
    middle, least = measure(threads, depth, moving)
    print(
        f"{threads:4} threads, {depth} deep, {'all have run' if moving else 'all wait':12}: {middle:7.1f} {least:7.1f}"
    )
