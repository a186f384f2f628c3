"""``make battery``: run the cases, one line each. Exit status 1 if one failed."""

from __future__ import annotations

import argparse
import sys

from tests.battery import cases  # noqa: F401 - registers them
from tests.battery.registry import CASES
from tests.battery.runner import FAILED, PASSED, SKIPPED, run_case


def main() -> int:
    parser = argparse.ArgumentParser(prog="make battery", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="only these cases")
    parser.add_argument("--verbose", action="store_true", help="a failed case shows where it failed")
    arguments = parser.parse_args()
    unknown = set(arguments.numbers) - CASES.keys()
    if unknown:
        parser.error(f"there is no case {min(unknown)}; there are {', '.join(map(str, sorted(CASES)))}")
    results = []
    for number in arguments.numbers or sorted(CASES):
        result = run_case(CASES[number], verbose=arguments.verbose)
        results.append(result.result)
        print(result, flush=True)
    counts = ", ".join(f"{results.count(kind)} {kind}" for kind in (PASSED, FAILED, SKIPPED))
    print(f"{len(results)} cases: {counts}")
    return int(FAILED in results)


if __name__ == "__main__":
    sys.exit(main())
