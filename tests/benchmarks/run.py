"""Compares obskit's cost with that of OpenTelemetry's SDK and instrumentation, and of other log handlers, here and now.

Both run in one process and take turns; docs/benchmarks.md explains it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import environment
from measurements import MEASUREMENTS, Measurement
from results import Blocks, Row, as_json, rows, table

_HERE = Path(__file__).parent
_PROCESSES = 3


def main() -> int:
    """Run the measurements; return 1 where ``--strict`` is given and a bar was missed, else 0."""
    options = _options()
    _say("preparing the environment ...")
    chosen = [measurement for measurement in MEASUREMENTS if options.only in measurement.title]
    environment.prepare(more=[need for measurement in chosen for need in measurement.needs])
    found: list[Row] = []
    with _process("receiver.py") as receiver:
        url = f"http://127.0.0.1:{_line(receiver)}"
        for measurement in chosen:
            _say(f"{measurement.title} ...")
            found += rows(measurement, _measure(measurement, url, options.rounds or measurement.rounds))
    _report(found, options.json)
    return int(options.strict and any(row.met is False for row in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the results to PATH, too")
    parser.add_argument("--only", metavar="TEXT", default="", help="only measurements whose title has TEXT in it")
    parser.add_argument("--rounds", metavar="N", type=int, help="rounds (few: more noise)")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a bar is missed")
    return parser.parse_args()


def _measure(measurement: Measurement, url: str, count: int) -> list[Blocks]:
    """Run ``count`` rounds, a third of them in each of three processes, one after the other.

    How a process happens to lie in memory moves its times by some percent for as long as it lives.
    """
    return [_run(measurement, url, max(1, count // _PROCESSES)) for _ in range(_PROCESSES)]


def _run(measurement: Measurement, url: str, rounds: int) -> Blocks:
    with _process("worker.py", measurement.module, measurement.variant, url, str(rounds)) as worker:
        blocks: Blocks = json.loads(_line(worker))
        return blocks


@contextmanager
def _process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of our scripts on the measured Python; closing its standard input ends it."""
    command = [str(environment.PYTHON), str(_HERE / script), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment.variables()
    ) as process:
        yield process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args!r} ended; its message is above")
    return line.strip()


def _report(found: list[Row], path: Path | None) -> None:
    about: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "load": os.getloadavg()[0],
        "versions": environment.versions(),
    }
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    print(f"Python {about['python']} on {about['machine']}, load {about['load']:.1f}; {versions}\n")
    print(table(found))
    met, missed = (sum(row.met is verdict for row in found) for verdict in (True, False))
    print(f"\n{met} bars met, {missed} missed")
    if path is not None:
        path.write_text(json.dumps({**about, "results": [as_json(row) for row in found]}, indent=2) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
