"""How a process tells an obskit collector what it has lost: a header of the messages that it sends there anyway.

The collector says in its answers that it takes the header; other servers never get it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

HEADER = "obskit-losses"
TAKES = "obskit-takes"
"""The header of answers, with the value ``losses``."""


class Losses(NamedTuple):
    """How many ``items`` one queue of a process has lost since it began, by reason; ``ledger`` tells queues apart."""

    ledger: str
    service: str
    items: str
    dropped: Mapping[str, int]


def encode(losses: Losses) -> str:
    """Return the header's value."""
    of = {"ledger": losses.ledger, "service": losses.service, "items": losses.items}
    return urlencode({**of, **losses.dropped})
