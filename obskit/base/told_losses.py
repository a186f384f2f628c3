"""How a process tells an obskit collector what it has lost: a header of the messages that it sends there anyway.

Over gRPC it is metadata, over Kafka a message's header. A collector says in its answers that it takes it, and servers
that do not say so never get it; Kafka has no answers, and its readers leave out the headers that they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

HEADER = "obskit-losses"
TAKES = "obskit-takes"
TAKES_ALL = "losses, running"
"""The header of answers, and its value: which headers are taken."""
LONGEST = 2_000
"""Characters of a value: servers refuse messages whose headers are larger than a few kilobytes."""


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
