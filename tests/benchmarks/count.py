"""Counts the instructions that obskit adds to an operation, beside what OpenTelemetry adds; docs/benchmarks.md.

Counts repeat to a fraction of a percent whatever else the machine does, so that a change of two percent is seen.
Needs valgrind. The status is 1 where obskit's part has grown, and where that could not be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import callgrind
import cost_tables
import environment
from callgrind import Counts
from measurements import MEASUREMENTS
from run import _line, _process, _say
from sides import OBSKIT, added

_LIMIT, _LIMIT_ELSEWHERE = 0.02, 0.05
"""How much more than recorded is too much. Another build of CPython does the same work in other proportions."""

_SEEDS = range(5)
"""Of hashes. Where strings lie, and what they hash to, decides what collides in CPython's caches: up to six percent."""

_COUNTED = {
    "fastapi_request": {"FastAPI request, sampled": "sampled"},
    "flask_request": {"Flask request, sampled": "sampled", "Flask request, unsampled": "unsampled"},
    "django_request": {"Django request, sampled": "sampled"},
    "log_record": {
        "log record, in a span, two fields": "in a span, two fields",
        "log record, no span, no fields": "no span, no fields",
    },
    "api_span": {"span, start and end": "start and end", "span, as current span": "as current span"},
    "zipkin_json": {"Zipkin JSON of a span": ""},
}
"""What is counted: the variants of each module by their titles. The longest first, as two run at a time."""


class Change(NamedTuple):
    """What one operation costs with obskit, in instructions, and what the record lets expect here."""

    title: str
    counts: Counts
    expected: float | None

    def share(self) -> float:
        """Return by how much more than expected it is: 0.01 is one percent."""
        return 0.0 if self.expected is None else added(self.counts)[OBSKIT] / self.expected - 1


_COUNTED_ALONE = {
    "client_call": {"call with requests": "requests", "call with httpx": "httpx"},
    "async_client_call": {f"call with {variant}": variant for variant in ("httpx, asynchronous", "aiohttp", "Tornado")},
    "grpc_call": {"unary gRPC call, client": "client"},
}
"""What is counted where ``--only`` asks for it, and is not recorded."""


def main() -> int:
    """Count, compare with the record, and say in the last line what the change costs."""
    options = _options()
    record = environment.record()
    missing = callgrind.missing()
    if missing:
        return _not_checked(f"this machine has no {' and no '.join(missing)}: apt-get install valgrind")
    if not record and not options.record:
        return _not_checked(f"there is no {environment.RECORD}: make bench-count ARGS=--record")
    titles = _titles(options)
    environment.prepare(options.newest, [need for one in MEASUREMENTS if one.title in titles for need in one.needs])
    here = {"build": environment.build(), "libraries": _libraries()}
    other = [] if options.record else _differences(record, here)
    if other and _minor(record) != _minor(here):
        return _not_checked(f"the record has {other[0]}: make bench-count PYTHON=python{_minor(record)}")
    changes = _changes(titles, record, bool(other), None if options.record else _limit(other))
    print(_table(changes))
    if options.record:
        found = {change.title: change.counts for change in changes}
        counts = {**record.get("counts", {}), **found}
        environment.RECORD.write_text(json.dumps({**here, "counts": counts}, indent=2) + "\n")
        cost_tables.write()
        return 0
    return _judge(changes, other)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="only what has TEXT in its title")
    parser.add_argument("--record", action="store_true", help="write the counts to counts.json instead of comparing")
    parser.add_argument("--newest", action="store_true", help="with the newest libraries, not those of the record")
    return parser.parse_args()


def _not_checked(reason: str) -> int:
    print(f"NOT CHECKED what the change costs: {reason}")
    return 1


def _libraries() -> dict[str, str]:
    return {name: version for name, version in environment.libraries().items() if name not in ("obskit", "pip")}


def _differences(record: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return what the counts depend on besides obskit and is otherwise here than where the record was made."""
    return [
        f"{name} {then.get(name)} (here {now.get(name)})"
        for then, now in ((record["build"], here["build"]), (record["libraries"], here["libraries"]))
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]


def _limit(other: list[str]) -> float:
    return _LIMIT_ELSEWHERE if other else _LIMIT


def _minor(made: dict[str, Any]) -> str:
    return str(made["build"]["python"]).rpartition(".")[0]


def _titles(options: argparse.Namespace) -> list[str]:
    more = _COUNTED_ALONE if options.only and not options.record else {}
    return [title for titles in (*_COUNTED.values(), *more.values()) for title in titles if options.only in title]


def _count(these: list[str], seed: int) -> dict[str, Counts]:
    """Return the counts by title."""
    counted = {**_COUNTED, **_COUNTED_ALONE}
    wanted = {module: [title for title in titles if title in these] for module, titles in counted.items()}
    found: dict[str, Counts] = {}
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(_count_some, module, titles, seed) for module, titles in wanted.items() if titles]
        for job in jobs:
            found |= job.result()
    return found


def _count_some(module: str, titles: list[str], seed: int) -> dict[str, Counts]:
    variants = [{**_COUNTED, **_COUNTED_ALONE}[module][title] for title in titles]
    with _process("receiver.py") as receiver:
        counts = callgrind.count(module, variants, f"http://127.0.0.1:{_line(receiver)}", seed)
    _say(f"counted: {'; '.join(titles)}")
    return {title: counts[variant] for title, variant in zip(titles, variants, strict=True)}


def _changes(titles: list[str], record: dict[str, Any], elsewhere: bool, limit: float | None) -> list[Change]:
    """Count, and again with other seeds what is over the limit (all where there is none); each side's least counts."""
    changes: dict[str, Change] = {}
    for seed in _SEEDS:
        over = [title for title in titles if limit is None or title not in changes or changes[title].share() > limit]
        for title, counts in _count(over, seed).items():
            least = _least(counts, changes[title].counts if title in changes else counts)
            changes[title] = Change(title, least, _expected(title, least, record, elsewhere))
    return list(changes.values())


def _least(counts: Counts, before: Counts) -> Counts:
    return {side: min(count, before[side]) for side, count in counts.items()}


def _expected(title: str, counts: Counts, record: dict[str, Any], elsewhere: bool) -> float | None:
    """Return what obskit adds by the record, made elsewhere in proportion to what the others' same work takes here."""
    before = record.get("counts", {}).get(title)
    if before is None:
        return None
    scale = _others(counts) / _others(before) if elsewhere else 1.0
    return float(added(before)[OBSKIT] * scale)


def _others(counts: Counts) -> int:
    return sum(count for side, count in counts.items() if side != OBSKIT)


def _table(changes: list[Change]) -> str:
    lines = [f"{'instructions per operation':36}{'obskit':>10}{'expected':>10}{'change':>8}   beside the others"]
    for change in changes:
        each = added(change.counts)
        ours = each.pop(OBSKIT)
        known = f"{change.expected:>10.0f}{change.share():>+8.1%}" if change.expected else " " * 18
        others = ", ".join(f"{ours / count:.3f} of {side}'s {count}" for side, count in each.items())
        lines.append(f"{change.title:36}{ours:>10}{known}   {others}")
    return "\n".join(lines)


def _judge(changes: list[Change], other: list[str]) -> int:
    limit = _limit(other)
    if other:
        print(f"The record was made with {', '.join(other)}.")
        print(f"So what is expected is scaled by the others' work, and {limit:.0%} more is allowed.")
    moved = [change for change in changes if abs(change.share()) > limit]
    said = "; ".join(f"{change.title} {change.share():+.1%}" for change in moved)
    print(f"What the change costs in instructions: {said or f'nothing, to within {limit:.0%}'}")
    grown = any(change.share() > limit for change in moved)
    if grown:
        print("Mend what has grown, or record it as part of the change: make bench-count ARGS=--record")
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
