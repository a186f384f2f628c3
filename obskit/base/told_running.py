"""How a process tells an obskit collector which requests it is serving: a header of the messages that it sends anyway.

A request's span is sent once it is over, and whatever is sent says anew what still runs: so the last word of a process
is right about all that it names, unless the process was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlencode

from obskit.base.records import NamedTuple

HEADER = "obskit-running"
MOST = 20
"""How many of the requests of a process are named, the oldest."""


class Request(NamedTuple):
    """A request that is being served: since how many milliseconds, and its trace."""

    age: int
    trace_id: str


class Running(NamedTuple):
    """How many requests a process is serving, and the oldest of these. ``instance`` is host and process id."""

    service: str
    instance: str
    number: int
    oldest: list[Request]


_ask: Callable[[], list[Request]] = list


def answered_by(ask: Callable[[], list[Request]]) -> None:
    """Have ``ask``, of whatever serves requests in this process, say which are under way."""
    global _ask  # noqa: PLW0603 - whoever sends does not know who serves, which may not even be imported
    _ask = ask


def instance() -> str:
    """Return the name of this process."""
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{host}:{os.getpid()}"


def encode(service: str) -> str:
    """Return the header's value."""
    requests = sorted(_ask(), reverse=True)
    oldest = " ".join(f"{age}-{trace_id}" for age, trace_id in requests[:MOST])
    return urlencode({"service": service, "instance": instance(), "number": len(requests), "oldest": oldest})
