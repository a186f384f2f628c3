"""One measurement, all its sides in this process: they take turns, block by block."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from importlib import import_module

from clocks import Block, Figures
from sides import BARE

_WARM_UP = 3


def main(module: str, variant: str, receiver: str, rounds: str) -> None:
    """Print the blocks in the order in which they ran, each as its side and its figures."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")  # standard output may be what is measured
    sides: dict[str, Block] = import_module(module).prepare(variant, receiver)
    list(_blocks(sides, _WARM_UP))
    gc.collect()
    gc.freeze()  # the libraries' own objects: a collection of them would hit one block or another
    with results:
        json.dump(list(_blocks(sides, int(rounds))), results)


def _blocks(sides: dict[str, Block], rounds: int) -> Iterator[tuple[str, Figures]]:
    """Run each side once a round, the next round in the opposite order, and each right after a bare block."""
    order = [side for side in sides if side != BARE]
    for _ in range(rounds):
        for side in order:
            if BARE in sides:
                yield _run(BARE, sides[BARE])
            yield _run(side, sides[side])
        order.reverse()


def _run(side: str, block: Block) -> tuple[str, Figures]:
    gc.collect()
    return side, block()


if __name__ == "__main__":
    main(*sys.argv[1:])
