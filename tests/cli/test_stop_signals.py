"""A command ends by a signal at whatever moment that comes, also as it begins to wait."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import signal, sys
from obskit.cli.stop_signals import StopSignals

def at_line(number):
    lines = iter(range(number + 1))
    def trace(_frame, event, _argument):
        if event == "line" and next(lines, -1) == number:
            signal.raise_signal(signal.SIGTERM)
        return trace
    return trace

caught = []
for number in range(60):
    stop = StopSignals()
    sys.settrace(at_line(number))
    found = stop.wait(0.01)
    sys.settrace(None)
    caught.append(found or stop.wait(0.01))
print(caught[0], caught[-1])
"""


def test_a_signal_that_comes_amid_the_wait_ends_it():
    """At each line that runs meanwhile; there are fewer than sixty."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True False\n", "")
