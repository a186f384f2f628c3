"""Threads, locks and sleep of the operating system, also where gevent or eventlet put theirs in the place of them.

A sampler that is a greenlet would see nothing: it runs only when the others do not.
"""

from __future__ import annotations

import sys
from typing import Any


def original(module: str, name: str) -> Any:
    """Return the attribute ``name`` of a standard ``module`` as it was before gevent or eventlet patched it."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original(module, name)
    if eventlet is not None:
        return getattr(eventlet.original(module), name)
    return getattr(__import__(module), name)


def is_uwsgi_master() -> bool:
    """Return whether this is uWSGI before it forks its workers: by default without telling Python.

    A thread that waits for the interpreter then leaves its wish to the workers, who wait for it to take its turn.
    """
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and getattr(uwsgi, "worker_id", lambda: 1)() == 0


def allocate_lock() -> Any:
    """Return a new lock of the operating system's."""
    return original("_thread", "allocate_lock")()


def start_thread(function: Any, *arguments: Any) -> None:
    """Run ``function`` on a new thread, which ends with the process; ``threading`` would take a lock of its own."""
    original("_thread", "start_new_thread")(function, arguments)
