"""COUNT spans, until all are spooled or SECONDS are over; with a third argument the program then waits to be killed."""

import sys
import time

from side import note, span, stats

count, seconds = int(sys.argv[1]), float(sys.argv[2])


def spooled():
    return sum(one.get("spooled", 0) for one in stats()["exporters"])


for number in range(count):
    with span(f"span {number}"):
        pass
deadline = time.monotonic() + seconds
while spooled() < count and time.monotonic() < deadline:
    time.sleep(0.01)
note(spooled=spooled())
if sys.argv[3:]:
    print("spooled", flush=True)
    time.sleep(60)
