"""A large file, written through the store without HTTP."""

from __future__ import annotations

import os
import time
from pathlib import Path

from obskit.collector.store.spans import SpanStore
from tests.benchmarks.collector.traffic import SPANS, Traffic

_TENTHS = 10


def fill(path: Path, traffic: Traffic) -> None:
    """Stores all spans, and prints what each tenth cost: it should stay the same."""
    store = SpanStore(str(path), max_spans=10**9, max_bytes=10**12)
    begun, spans, total = time.process_time(), 0, traffic.traces * SPANS
    for message in traffic.messages():
        store.add(message)
        spans += len(message)
        if spans >= total / _TENTHS:
            took = time.process_time() - begun
            print(f"CPU s per million spans, making them included: {took / spans * 1e6:.1f}", flush=True)
            begun, spans = time.process_time(), 0
    store.cells.update()
    begun = time.process_time()
    while store.count_ahead():  # which a server does between messages
        pass
    print(f"and links counted ahead: {(time.process_time() - begun) / total * 1e6:.1f}", flush=True)
    store.close()
    print(f"bytes a span in the file: {os.path.getsize(path) / total:.0f}")
