"""A span in a process, in its child, and in its grandchild."""

import os
import sys

from side import span

with span("parent"):
    pass
read, write = os.pipe()
if os.fork() == 0:
    with span("child"):
        pass
    if os.fork() == 0:
        with span("grandchild"):
            os.write(write, b"x")
        sys.exit()
    os.wait()
    sys.exit()
os.wait()
print(os.read(read, 1))
