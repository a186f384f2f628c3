"""A span a second for twenty seconds."""

import time

from side import flush, span

for number in range(20):
    with span(f"live {number}"):
        pass
    time.sleep(1)
flush(5)
