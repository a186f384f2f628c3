"""How a process tells an obskit collector what it has lost: a header of the messages that it sends there anyway.

The collector says in its answers that it takes the header; other servers never get it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

HEADER = "obskit-losses"
TAKES = "obskit-takes"
"""The header of answers, with the value ``losses``."""

_LONGEST = 2_000
_is_ledger = re.compile(r"[0-9a-f]{16}").fullmatch
_is_reason = re.compile(r"[a-z0-9_]{1,60}").fullmatch
_is_number = re.compile(r"[0-9]{1,15}").fullmatch


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


def decode(text: str) -> Losses | None:
    """Return what a header says; None if it is malformed."""
    try:
        pairs = dict(parse_qsl(text, strict_parsing=True, max_num_fields=40)) if len(text) <= _LONGEST else {}
    except ValueError:
        return None
    ledger, service, items = (pairs.pop(name, "") for name in ("ledger", "service", "items"))
    is_right = all(_is_reason(reason) and _is_number(number) for reason, number in pairs.items())
    if not (is_right and _is_ledger(ledger) and service and items in {"spans", "log lines"}):
        return None
    return Losses(ledger, service.lower(), items, {reason: int(number) for reason, number in pairs.items()})
