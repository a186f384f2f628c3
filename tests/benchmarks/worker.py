"""One side of one measurement, in a process of its own: does a round for each line on standard input."""

from __future__ import annotations

import gc
import json
import sys
from importlib import import_module


def main(module: str, side: str, variant: str, receiver: str) -> None:
    do_round = import_module(module).prepare(side, variant, receiver)
    for _ in sys.stdin:
        gc.collect()
        print(json.dumps(do_round()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
