"""The cases: each a function that injects one fault for real, and raises AssertionError where a promise is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.battery.lab import Lab

Body = Callable[["Lab"], str]
"""Runs a case and returns its key figure, such as ``delivered 40/40, exit 0 in 0.31 s``."""


class Skipped(Exception):
    """The case cannot run here. The text says why."""


class Case(NamedTuple):
    """One row of the battery. ``quick`` ones are run by pytest too, ``peers`` ones also with other libraries."""

    number: int
    name: str
    fault: str
    expected: str
    quick: bool
    peers: bool
    body: Body


CASES: dict[int, Case] = {}


def case(
    number: int, name: str, fault: str, expected: str, *, quick: bool = True, peers: bool = False
) -> Callable[[Body], Body]:
    """Register a function as a case."""

    def register(body: Body) -> Body:
        assert number not in CASES, f"two cases have the number {number}"
        CASES[number] = Case(number, name, fault, expected, quick, peers, body)
        return body

    return register
