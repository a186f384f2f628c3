"""Run suites with obskit and without, and list the tests that differ. Ends with 1 where there are any."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.host_suites import places, results
from tests.host_suites.receiver import receiver
from tests.host_suites.suites import SUITES, Suite

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
        print(f"{name}: not run: {reason}", flush=True)
        return 0
    always: dict[str, tuple[str, str]] | None = None
    for _ in range(_RUNS):
        plain = places.run(name, suite, folder, None, timeout)
        ours = places.run(name, suite, folder, address, timeout)
        found = results.differing(plain, ours)
        always = found if always is None else {test: pair for test, pair in found.items() if test in always}
        if not always:
            break
    assert always is not None
    passed = sum(outcome == "passed" for outcome in ours.values())
    print(f"{name}: {len(always)} differ; with obskit {passed} of {len(ours)} passed, without {len(plain)} ran", flush=True)
    for test, (without, with_it) in always.items():
        print(f"    {test}: {without}, with obskit {with_it}", flush=True)
    return len(always)


if __name__ == "__main__":
    sys.exit(main())
