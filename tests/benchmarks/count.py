"""Counts the instructions that obskit adds to an operation, beside what OpenTelemetry adds; docs/benchmarks.md.

Counts repeat to a fraction of a percent whatever else the machine does, so that a change of two percent is seen.
Needs valgrind.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import environment
from count_worker import OPERATIONS, ROUNDS
from run import _line, _process, _say
from sides import BARE, OBSKIT

_HERE = Path(__file__).parent
_RECORD = _HERE / "counts.json"
_TOLERANCE = 0.02
_SUMMARY = re.compile(r"^summary: (\d+)", re.MULTILINE)

Counts = dict[str, int]
"""Instructions per operation, by side."""

_COUNTED = {
    "Flask request, sampled": ("flask_request", "sampled"),
    "Flask request, unsampled": ("flask_request", "unsampled"),
    "FastAPI request, sampled": ("fastapi_request", "sampled"),
    "Django request, sampled": ("django_request", "sampled"),
    "span, start and end": ("api_span", "start and end"),
    "span, as current span": ("api_span", "as current span"),
    "Zipkin JSON of a span": ("zipkin_json", ""),
    "log record, in a span, two fields": ("log_record", "in a span, two fields"),
    "log record, no span, no fields": ("log_record", "no span, no fields"),
}


def main() -> int:
    """Count, compare with the record, and return 1 where obskit's part has grown and ``--record`` is not given."""
    options = _options()
    environment.prepare()
    record = json.loads(_RECORD.read_text()) if _RECORD.exists() else {}
    found: dict[str, Counts] = {}
    with _process("receiver.py") as receiver:
        url = f"http://127.0.0.1:{_line(receiver)}"
        for title, (module, variant) in _COUNTED.items():
            if options.only in title:
                _say(f"{title} ...")
                found[title] = _added(_count(module, variant, url))
    before = record.get("counts", {})
    grown = [title for title, counts in found.items() if _grew(counts, before.get(title))]
    print(_table(found, before))
    if options.record:
        _RECORD.write_text(json.dumps({"versions": _versions(), "counts": {**before, **found}}, indent=2) + "\n")
    elif record and record["versions"] != _versions():
        print("The record was made with other versions, so it decides nothing here.")
    elif grown:
        print(f"More than {_TOLERANCE:.0%} above the record: {', '.join(grown)}. Mend it, or record it: --record")
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="only what has TEXT in its title")
    parser.add_argument("--record", action="store_true", help="write the counts to counts.json instead of comparing")
    return parser.parse_args()


def _count(module: str, variant: str, url: str) -> Counts:
    """Return each side's instructions per operation, of the thread that does the work, once the code is warm."""
    found: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        dumps = Path(folder) / "dump"
        for number, side in enumerate(_under_callgrind(dumps, module, variant, url), start=1):
            summary = _SUMMARY.search(Path(f"{dumps}.{number}-01").read_text())
            assert summary is not None
            found.setdefault(side, []).append(int(summary[1]) // OPERATIONS)
    return {side: min(counts[ROUNDS // 2 :]) for side, counts in found.items()}


def _under_callgrind(dumps: Path, *measurement: str) -> list[str]:
    """Run a measurement, which leaves a dump for each of its blocks; return the blocks' sides."""
    command = [
        "valgrind", "--tool=callgrind", "--separate-threads=yes", "--zero-before=ffi_call", "--dump-after=ffi_call",
        f"--callgrind-out-file={dumps}", environment.PYTHON, _HERE / "count_worker.py", *measurement,
    ]  # fmt: skip
    variables = {**environment.variables(), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables)
    if done.returncode:
        raise SystemExit(done.stderr)
    sides: list[str] = json.loads(done.stdout)
    return sides


def _added(counts: Counts) -> Counts:
    """Return what each side adds to the bare one, where there is a bare one."""
    bare = counts.get(BARE, 0)
    return {side: count - bare for side, count in counts.items() if side != BARE}


def _grew(counts: Counts, before: Counts | None) -> bool:
    return before is not None and counts[OBSKIT] > before[OBSKIT] * (1 + _TOLERANCE)


def _table(found: dict[str, Counts], before: dict[str, Counts]) -> str:
    lines = [f"{'instructions per operation':36}{'obskit':>10}{'recorded':>10}{'change':>8}   beside the others"]
    for title, counts in found.items():
        ours, old = counts[OBSKIT], before.get(title, {}).get(OBSKIT)
        change = f"{ours / old - 1:+.1%}" if old else ""
        others = ", ".join(
            f"{ours / count:.3f} of {side}'s {count}" for side, count in counts.items() if side != OBSKIT
        )
        lines.append(f"{title:36}{ours:>10}{old or '':>10}{change:>8}   {others}")
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    """Return what the counts depend on besides obskit itself."""
    libraries = {name: version for name, version in environment.versions().items() if name != "obskit"}
    return {"python": platform.python_version(), "machine": platform.machine(), **libraries}


if __name__ == "__main__":
    sys.exit(main())
