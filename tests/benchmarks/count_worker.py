"""One measurement under callgrind: each block's measured part is one call through libffi, by which callgrind tells it.

Prints, as JSON, the sides of all blocks in their order.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from importlib import import_module

import clocks

OPERATIONS = 50
ROUNDS = 6  # CPython specialises code as it runs it, for the classes that it meets: the last rounds of a side count
_SIZES = ("REQUESTS", "SPANS", "RECORDS")


def main(module: str, variant: str, receiver: str) -> None:
    """Run each side's blocks one after the other, with a few operations each: they are counted, not timed."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")  # standard output may be what is measured
    clocks.run = _marked()
    work = import_module(module)
    for sized in (work, import_module("flask_request")):
        for name in _SIZES:
            if hasattr(sized, name):
                setattr(sized, name, OPERATIONS)
    sides: dict[str, clocks.Block] = work.prepare(variant, receiver)
    order = [side for side in sides for _ in range(ROUNDS)]
    gc.disable()  # which operation it interrupts is chance, and most of its work is the frameworks' own objects
    for side in order:
        sides[side]()
        gc.collect()
    with results:
        json.dump(order, results)


def _marked() -> ctypes._CFuncPtr:
    call = ctypes.pythonapi.PyObject_CallNoArgs
    call.restype = ctypes.py_object
    call.argtypes = [ctypes.py_object]
    return call


if __name__ == "__main__":
    main(*sys.argv[1:])
