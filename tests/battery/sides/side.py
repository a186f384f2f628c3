"""What a program imports: ``span``, ``flush`` and the rest of the library under test, and the notes it leaves."""

from __future__ import annotations

import json
import os
import time
from importlib import import_module


def note(**values: object) -> None:
    """Leave values for the case, outside of the program's output."""
    with open(os.path.join(os.environ["BATTERY_FOLDER"], "notes"), "a") as file:
        file.write(json.dumps(values) + "\n")


def ending() -> None:
    """Say that the program is over from here on: what follows is the library's."""
    note(ending=time.monotonic())


def waited_for_a_processor() -> float:
    """Return the seconds that this thread was ready to run, and others ran: what a busy machine adds to any time.

    Linux says it; elsewhere it is 0.
    """
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


_library = import_module(os.environ["BATTERY_SIDE"])
span, flush = _library.span, _library.flush
stats = getattr(_library, "stats", lambda: {"exporters": []})
raising_hook = getattr(_library, "raising_hook", lambda: None)
raising_processor = getattr(_library, "raising_processor", lambda: None)
