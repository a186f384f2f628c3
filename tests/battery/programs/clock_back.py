"""Spans during which the wall clock steps back."""

import ctypes
import time

from side import note, span

step = ctypes.CDLL(None).step_clock
before = time.time()
with span("outer"), span("inner"):
    step(-1000)
    with span("innermost"):
        time.sleep(0.01)
note(stepped=time.time() - before)
print("done")
