"""Counts the bytecodes that obskit adds to an operation, beside what OpenTelemetry adds; docs/benchmarks.md.

They do not vary, and tell which function has grown; they are no measure of time.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import environment
from measurements import MEASUREMENTS, Measurement
from run import _line, _process, _say
from sides import BARE, OBSKIT, PEER, added

_LEFT_OUT = ("process start", "to the queue", "through the pipeline", "made and encoded", "hostile", "call, server")
"""What is done by other processes and threads, which are not counted, and headers that nobody sends."""


def main() -> None:
    """Count what was asked for, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="only measurements whose title has TEXT in it")
    parser.add_argument("--functions", action="store_true", help="also what each of obskit's functions takes")
    options = parser.parse_args()
    chosen = [one for one in MEASUREMENTS if options.only in one.title and not _is_left_out(one.title)]
    environment.prepare(more=[need for one in chosen for need in one.needs])
    print(f"{'bytecodes per operation':44}{'bare':>8}{'obskit':>8}   beside the others")
    with _process("receiver.py") as receiver:
        url = f"http://127.0.0.1:{_line(receiver)}"
        for measurement in chosen:
            found = _count(measurement, url)
            print(_row(measurement.title, found["counts"]), flush=True)
            for line in found["functions"] if options.functions else ():
                _say(line)


def _is_left_out(title: str) -> bool:
    return any(part in title for part in _LEFT_OUT)


def _count(measurement: Measurement, url: str) -> dict[str, Any]:
    with _process("bytecodes_worker.py", measurement.module, measurement.variant, url) as worker:
        found: dict[str, Any] = json.loads(_line(worker))
        return found


def _row(title: str, counts: dict[str, int]) -> str:
    bare = counts.get(BARE)
    each = added(counts)
    ours = each.pop(OBSKIT, 0)
    others = ", ".join(f"{ours / count:.3f} of {side}'s {count}" for side, count in each.items() if count)
    return f"{title:44}{'' if bare is None else bare:>8}{ours:>+8}   {others or f'no {PEER}'}"


if __name__ == "__main__":
    main()
