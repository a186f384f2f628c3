"""Five spans, delivered within SECONDS; a giant one besides if there is a second argument."""

import sys

from side import ending, flush, span

for number in range(5):
    with span(f"span {number}"):
        pass
print("work done")
if sys.argv[2:]:
    with span("giant", text="x" * 5000):
        pass
flush(float(sys.argv[1]))
ending()
