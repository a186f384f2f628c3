"""One measurement whose bytecodes are counted, by ``sys.monitoring``: needs Python 3.12.

Prints the count of each side's operation, and obskit's functions, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from types import CodeType

import clocks
from sides import OBSKIT

_SIZES = ("REQUESTS", "SPANS", "RECORDS", "CALLS")
_OPERATIONS = 32
_WARM_UP = 3


class Counted(Counter[CodeType]):
    """The bytecodes of the thread that does the work, by function, while ``run`` runs it."""

    def __init__(self) -> None:
        super().__init__()
        self._monitoring = sys.monitoring
        self._monitoring.use_tool_id(self._monitoring.PROFILER_ID, "bytecodes")
        self._monitoring.register_callback(
            self._monitoring.PROFILER_ID, self._monitoring.events.INSTRUCTION, self._executed
        )
        self._thread = threading.get_ident()

    def _executed(self, code: CodeType, _offset: int) -> None:
        if threading.get_ident() == self._thread:
            self[code] += 1

    def run(self, work: Callable[[], object]) -> object:
        """Take the place of ``clocks.run``."""
        self._monitoring.set_events(self._monitoring.PROFILER_ID, self._monitoring.events.INSTRUCTION)
        try:
            return work()
        finally:
            self._monitoring.set_events(self._monitoring.PROFILER_ID, 0)


def main(module: str, variant: str, receiver: str) -> None:
    """Warm each side up, then count one block of each."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")  # standard output may be what is measured
    work = import_module(module)
    for sized in (work, import_module("flask_request"), import_module("client_call")):
        for name in _SIZES:
            if isinstance(getattr(sized, name, None), int):
                setattr(sized, name, _OPERATIONS)
    blocks = work.prepare(variant, receiver)
    for _ in range(_WARM_UP):
        for block in blocks.values():
            block()
    counted, counts, functions = Counted(), {}, []
    clocks.run = counted.run
    for side, block in blocks.items():
        counted.clear()
        block()
        counts[side] = round(counted.total() / _OPERATIONS)
        if side == OBSKIT:
            functions = [_line(code, count) for code, count in counted.most_common() if "obskit" in code.co_filename]
    with results:
        json.dump({"counts": counts, "functions": functions}, results)


def _line(code: CodeType, count: int) -> str:
    where = code.co_filename.rpartition("obskit")[2]
    return f"{count / _OPERATIONS:10.1f}  obskit{where}:{code.co_firstlineno} {code.co_qualname}"


if __name__ == "__main__":
    main(*sys.argv[1:])
