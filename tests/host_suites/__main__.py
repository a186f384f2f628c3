"""Run suites with obskit and without, and list the tests that differ. Ends with 1 where one differs unexplained."""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter

from tests.host_suites import places
from tests.host_suites.receiver import receiver
from tests.host_suites.results import Differing, differing
from tests.host_suites.suites import EXPLAINED, SUITES, Suite

_RUNS = 3  # a test must differ in each of them: many of these tests fail now and then by themselves


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.host_suites", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUITES)} (default: all)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one run of a suite (default: 1800)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in SUITES]:
        parser.error(f"there is no suite {unknown[0]!r}: choose of {', '.join(SUITES)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell's background job ignores, its children do
    with receiver() as address:
        counts = [compare(name, SUITES[name], address, args.timeout) for name in args.names or SUITES]
    return int(any(counts))


def compare(name: str, suite: Suite, address: str, timeout: float) -> int:
    """Run a suite until no test differs, ``_RUNS`` times at most; print and count those that always do."""
    try:
        folder = places.prepare(name, suite)
    except places.CannotRun as reason:
        return _say(f"{name}: not run: {reason}", 0)
    always: Differing | None = None
    for _ in range(_RUNS):
        plain = places.run(name, suite, folder, None, timeout)
        if "passed" not in plain.values():
            return _say(f"{name}: nothing passes without obskit: see {folder}/without.log", 1)
        ours = places.run(name, suite, folder, address, timeout)
        found = differing(plain, ours)
        always = {test: pair for test, pair in found.items() if always is None or test in always}
        if not always:
            break
    passed = Counter(plain.values())["passed"], Counter(ours.values())["passed"]
    lines = [f"    {test}: {' -> '.join(pair)}{_reason(test)}" for test, pair in always.items()]
    head = f"{name}: {len(always)} differ; of {len(plain)} tests {passed[0]} passed, with obskit {passed[1]}"
    return _say("\n".join([head, *lines]), sum(not _reason(test) for test in always))


def _reason(test: str) -> str:
    """Return why a test differs rightly, in parentheses; nothing where nothing is known."""
    reason = EXPLAINED.get(test.partition("[")[0])
    return f" ({reason})" if reason else ""


def _say(text: str, count: int) -> int:
    print(text, flush=True)
    return count


if __name__ == "__main__":
    sys.exit(main())
