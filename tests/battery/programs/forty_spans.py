"""Forty spans, and then: ``end``, ``sleep`` or ``flush``."""

import sys
import time

from side import ending, flush, note, span

for _ in range(40):
    with span("work"):
        pass
print("ready", flush=True)
if sys.argv[1] == "sleep":
    time.sleep(60)
if sys.argv[1] == "flush":
    begin = time.monotonic()
    answer = flush(0.5)
    note(took=time.monotonic() - begin, answer=answer)
ending()
