"""Ids by which Cloud Logging tells entries apart, and orders those of one instant."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product

from obskit.base.process import on_fork

THOUSAND = tuple(f"{number:03d}" for number in range(1000))
"""The numbers of three digits, as text: looking one up is cheaper than making one."""

new: Callable[[], str]
"""Returns an id that no other entry has, of this process or another; later ones sort behind. To be called as
``insert_ids.new()``: a forked child has another."""


def _name_process() -> None:
    global new  # noqa: PLW0603 - a process has one name
    process = os.urandom(6).hex()
    # A thousand a second for thirty years. One C call makes each, so that no other thread comes between.
    new = map("".join, product([process], *[THOUSAND] * 4)).__next__


_name_process()
on_fork(_name_process)
