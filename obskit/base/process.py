"""Notices forks: state that must not be shared with a forked child is renewed when the pid changes.

Python's fork hooks do it for ``os.fork`` and what is built on it. uWSGI forks without them, so every trace that
starts in a process also checks the pid.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from obskit.base.own_file import OwnFile

pid = os.getpid()
"""This process's id, as of the last fork that was noticed. To be read as ``process.pid``, as a fork replaces it."""
_befores: list[Callable[[], None]] = []
_parents: list[Callable[[], None]] = []
_children: list[Callable[[], None]] = []
_renewals: list[Callable[[], None]] = []


def on_fork(renew: Callable[[], None]) -> None:
    """Call ``renew`` in each forked child before it starts a trace."""
    _renewals.append(renew)


def around_fork(
    before: Callable[[], None], after_in_parent: Callable[[], None], after_in_child: Callable[[], None] = lambda: None
) -> None:
    """Call these around a fork that Python makes: the last to register is the closest to it.

    ``after_in_child`` runs once everything registered with ``on_fork`` has been renewed.
    """
    _befores.append(before)
    _parents.insert(0, after_in_parent)
    _children.insert(0, after_in_child)


def _forking() -> None:
    for before in _befores:
        before()


def _parent_goes_on() -> None:
    for after in _parents:
        after()


def _child_begins() -> None:
    _forked()
    for after in _children:
        after()


def _forked() -> None:
    global pid  # noqa: PLW0603 - a process has one pid
    pid = os.getpid()
    for renew in _renewals:
        renew()


def check_fork() -> None:
    """Notice a fork that Python's hooks did not see."""
    if os.getpid() != pid:
        _forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking, after_in_parent=_parent_goes_on, after_in_child=_child_begins)


_TOKEN = b"1"


class Inheritance:
    """Work that a process which never sends leaves to the first forked child that claims it.

    uWSGI's master loads the application, forks its workers, and runs no Python again, not even at its end. The claim is
    a byte in a pipe, which only one of the children can read.
    """

    def __init__(self) -> None:
        pipe, end = os.pipe()
        os.write(end, _TOKEN)
        os.close(end)
        self._pipe = OwnFile(pipe)

    def claim(self) -> bool:
        """Return whether this process is the first to ask; False for all if the application closed the pipe."""
        try:
            return self._pipe.is_open() and os.read(self._pipe.fileno, 1) == _TOKEN
        except OSError:
            return False
