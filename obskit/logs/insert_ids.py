"""Ids by which Cloud Logging tells entries apart, and orders those of one instant."""

from __future__ import annotations

import itertools
import os

from obskit.tracing.process import on_fork

_process = ""
_numbers = itertools.count(10**10)  # so many that all have equally many digits, and sort as text


def new_insert_id() -> str:
    """Return an id that no other entry has, of this process or another; later ones sort behind."""
    return f"{_process}{next(_numbers)}"


def _name_process() -> None:
    global _process  # noqa: PLW0603 - a process has one name
    _process = os.urandom(6).hex()


_name_process()
on_fork(_name_process)
