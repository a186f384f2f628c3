"""Insert ids, by which Cloud Logging drops duplicate entries and orders entries of the same time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from os import urandom

from obskit.base.process import on_fork

THOUSAND = tuple(map("".join, product("0123456789", repeat=3)))
"""All numbers of three digits as text: a look-up is cheaper than formatting."""

new: Callable[[], str]
"""Returns an id that no other entry of any process has; later ones sort after earlier ones. Call it as
``insert_ids.new()``, since a forked child replaces it."""


def _name_process() -> None:
    global new  # noqa: PLW0603 - one prefix for each process
    process = urandom(6).hex()
    # Enough for a thousand a second over thirty years. Each is made by one C call, so threads need no lock.
    new = map("".join, product([process], *[THOUSAND] * 4)).__next__


_name_process()
on_fork(_name_process)
