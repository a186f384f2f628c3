"""Running a case and saying what became of it."""

from __future__ import annotations

import sys
import time
import traceback
from typing import NamedTuple

from tests.battery.lab import OBSKIT, lab
from tests.battery.registry import Case, Skipped

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


class Result(NamedTuple):
    """What became of a case, and its figure or the reason."""

    case: Case
    result: str
    figure: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.case.number:>2} {self.case.name:<16} {self.result:<7} {self.seconds:6.1f} s  {self.figure}"


def run_case(case: Case, side: str = OBSKIT, python: str = sys.executable, verbose: bool = False) -> Result:
    """Run a case with one library, thoroughly."""
    begin = time.monotonic()
    result, figure = _outcome(case, side, python, verbose)
    return Result(case, result, figure, time.monotonic() - begin)


def _outcome(case: Case, side: str, python: str, verbose: bool) -> tuple[str, str]:
    try:
        with lab(side, python) as place:
            return PASSED, case.body(place)
    except Skipped as reason:
        return SKIPPED, str(reason)
    except Exception as error:
        if verbose:
            traceback.print_exc()
        return FAILED, " ".join(str(error).split()) or type(error).__name__
