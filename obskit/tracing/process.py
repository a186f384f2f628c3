"""Which process this is: state that must not be shared with a forked child is renewed when the pid changes.

Python's fork hooks do it for ``os.fork`` and what is built on it. uWSGI forks without them, so every trace that
starts in a process also checks the pid.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_pid = os.getpid()
_renewals: list[Callable[[], None]] = []


def on_fork(renew: Callable[[], None]) -> None:
    """Have ``renew`` called in each forked child before it starts a trace."""
    _renewals.append(renew)


def _forked() -> None:
    global _pid  # noqa: PLW0603 - a process has one pid
    _pid = os.getpid()
    for renew in _renewals:
        renew()


def check_fork() -> None:
    """Notice a fork that Python's hooks did not see."""
    if os.getpid() != _pid:
        _forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
