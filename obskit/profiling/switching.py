"""How soon the sampler gets its turn.

A thread that wants to run Python code waits until the one that does lets go, at the latest after the interpreter's
switch interval (5 ms). A request that computes for 3 ms and then writes its answer would always be found writing.
While it samples, the profiler asks for half a millisecond; but not while several threads compute by turns, which
then would switch ten times as often, too: those are interrupted anyway.
"""

from __future__ import annotations

import sys

_QUICK = 0.0005


class Switching:
    """The interpreter's switch interval, borrowed. An application that sets it meanwhile has its way."""

    def __init__(self) -> None:
        self._before: float | None = None
        self._set = 0.0

    def __enter__(self) -> Switching:
        self._before = self._set = sys.getswitchinterval()
        return self

    def __call__(self, quick: bool) -> None:
        """Choose between the short interval and the application's."""
        if self._before is None or sys.getswitchinterval() != self._set:
            self._before = None
            return
        wanted = min(_QUICK, self._before) if quick else self._before
        if wanted != self._set:
            sys.setswitchinterval(wanted)
            self._set = sys.getswitchinterval()

    def __exit__(self, *_: object) -> None:
        self(quick=False)
        self._before = None


switching = Switching()
"""The only one, as there is one interpreter; a forked child leaves what it inherits."""
