"""Whether this is a Python that obskit is right on.

On the way of a span and of a line there are few locks: that a deque, a dict or a counter takes one operation at a time
is the work of the interpreter's lock. A build without that lock (``python3.14t``) has not been tested with obskit.
"""

from __future__ import annotations

import logging
import sys

from obskit.base.failures import tell

_REFUSED = (
    "obskit is off: this Python runs without its global interpreter lock, on which obskit relies and without which it "
    "has not been tested. Start Python with PYTHON_GIL=1 (or -X gil=1) to use obskit"
)


def is_supported() -> bool:
    """Return whether obskit may run here; say so where it may not."""
    enabled = getattr(sys, "_is_gil_enabled", None)  # 3.13 and later
    if enabled is None or enabled():
        return True
    tell(logging.WARNING, _REFUSED)
    return False
