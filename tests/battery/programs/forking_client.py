"""Use an exporter, fork three times, use it in each child and in the parent again."""

import os
import sys

from side import flush, span

with span("before"):
    pass
print(flush(10), flush=True)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        with span("child"):
            pass
        sys.exit(0 if flush(10) else 1)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
with span("after"):
    pass
print(flush(10))
