"""One measurement under callgrind: each block's measured part is one call through libffi, by which callgrind tells it.

Prints a line when it is warm, waits for one, and prints the sides of all counted blocks in their order, as JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import sys
from importlib import import_module

import clocks

_OPERATIONS = 32
_UNCOUNTED, _COUNTED = 3, 3
_SIZES = ("REQUESTS", "SPANS", "RECORDS", "CALLS")


def main(module: str, receiver: str, *variants: str) -> None:
    """Run each side's blocks one after the other, with a few operations each: they are counted, not timed."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")  # standard output may be what is measured
    clocks.run = _marked()
    work = import_module(module)
    for sized in (work, import_module("flask_request"), import_module("client_call")):
        for name in _SIZES:
            if isinstance(getattr(sized, name, None), int):
                setattr(sized, name, _OPERATIONS)
    gc.disable()  # which operation it interrupts is chance, and most of its work is the frameworks' own objects
    blocks = {(variant, side): block for variant in variants for side, block in work.prepare(variant, receiver).items()}
    _run(blocks, _UNCOUNTED)
    gc.freeze()  # collecting what a block leaves behind looks at nothing older
    print("warm", file=results, flush=True)
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        pass  # valgrind looks for orders now and then, while the program runs
    order = _run(blocks, _COUNTED)
    with results:
        json.dump((order, _OPERATIONS), results)


def _run(blocks: dict[tuple[str, str], clocks.Block], rounds: int) -> list[tuple[str, str]]:
    """Run each block some times, then the next one; return their order."""
    order = [which for which in blocks for _ in range(rounds)]
    for which in order:
        blocks[which]()
        gc.collect()
    return order


def _marked() -> ctypes._CFuncPtr:
    call = ctypes.pythonapi.PyObject_CallNoArgs
    call.restype = ctypes.py_object
    call.argtypes = [ctypes.py_object]
    return call


if __name__ == "__main__":
    main(*sys.argv[1:])
