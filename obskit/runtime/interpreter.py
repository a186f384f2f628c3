"""Decides whether obskit can run on this interpreter.

obskit uses few locks: it relies on the GIL, by which single operations on a deque, a dict or a counter are atomic. It
has not been tested on a build without that lock (``python3.14t``). An isolated subinterpreter has its own lock, and
accepts only extension modules that support that.
"""

from __future__ import annotations

import logging
import sys

from obskit.base.failures import tell
from obskit.base.native_threads import in_subinterpreter

_NO_LOCK = (
    "obskit is off: this Python runs without its global interpreter lock, on which obskit relies and without which it "
    "has not been tested. Start Python with PYTHON_GIL=1 (or -X gil=1) to use obskit"
)
_ISOLATED = (
    "obskit is off in this subinterpreter: it is isolated, and msgspec, which encodes spans and lines, cannot be "
    "loaded there. Use obskit in the main interpreter or in processes, or subinterpreters that share the lock"
)


def is_supported() -> bool:
    """Return whether obskit can run here; log the reason if it cannot."""
    enabled = getattr(sys, "_is_gil_enabled", None)  # 3.13 and later
    if enabled is not None and not enabled():
        tell(logging.WARNING, _NO_LOCK)
        return False
    if in_subinterpreter() and _is_isolated():
        tell(logging.WARNING, _ISOLATED)
        return False
    return True


def _is_isolated() -> bool:
    """Return whether this subinterpreter refuses msgspec. Trying the import would abort the process at its exit."""
    try:
        interpreters = __import__("_interpreters")  # 3.13 and later; before, isolated subinterpreters are rare
        config = interpreters.get_config(interpreters.get_current()[0])
        return bool(config.check_multi_interp_extensions)
    except (ImportError, AttributeError):
        return False
