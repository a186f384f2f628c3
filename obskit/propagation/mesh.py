"""Headers that a service mesh needs copied, unread, from the inbound request to outbound calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context

from obskit.propagation.baggage import LONGEST, entries, header
from obskit.propagation.headers import BAGGAGE, HeaderNames, sendable
from obskit.tracing.others import BAGGAGE_KEY, BROUGHT_KEY, own_key

MESH_KEY = own_key("obskit-mesh-headers")
CARRIED = (MESH_KEY, BAGGAGE_KEY, BROUGHT_KEY)
"""The keys by which a context has what a message brought besides its trace."""
_NONE: dict[str, str] = {}
_LONGEST = 4096
_LONGEST_TOGETHER = 8192  # servers bound the head of a request, by 16 KiB or so


def extract(headers: Mapping[str, str], names: HeaderNames) -> dict[str, str] | None:
    """Return the mesh headers among ``headers``, by name, or None where there are none.

    Values that are too long or that a client would refuse to send are left out: a caller must not make calls fail.
    """
    found: dict[str, str] = {}
    room = _LONGEST_TOGETHER
    for key, name in names.mesh:
        if key in headers:
            value = headers[key].strip(" \t")
            if value and len(value) <= min(_LONGEST, room) and sendable(value):
                found[name] = value
                room -= len(value)
    if names.baggage in headers and len(headers[names.baggage]) <= LONGEST:
        found[BAGGAGE] = headers[names.baggage]
    return found or None


def enter(values: dict[str, Any], meshed: Mapping[str, str]) -> None:
    """Put a message's mesh headers among the ``values`` of a context, and its baggage where OpenTelemetry has it."""
    others = {name: value for name, value in meshed.items() if name != BAGGAGE}
    if others:
        values[MESH_KEY] = others
    if BAGGAGE in meshed:
        values[BAGGAGE_KEY] = entries(meshed[BAGGAGE], values)


def bring(values: dict[str, Any], meshed: Mapping[str, str]) -> None:
    """Do what ``enter`` does, for a message that obskit has read: its baggage is taken back when that is over."""
    before = values.get(BAGGAGE_KEY) or {}
    enter(values, meshed)
    after = values.get(BAGGAGE_KEY) or {}
    if after is not before:
        brought = {name: value for name, value in after.items() if before.get(name) != value}
        values[BROUGHT_KEY] = {**values.get(BROUGHT_KEY, {}), **brought}


def of(context: Context) -> dict[str, str]:
    """Return the mesh headers of the request that is being served in ``context``, and the baggage there."""
    if not context:
        return _NONE
    found = context.get(MESH_KEY)
    meshed: dict[str, str] = found if isinstance(found, dict) else _NONE
    if BAGGAGE_KEY in context:
        text = header(context)
        return {**meshed, BAGGAGE: text} if text else meshed
    return meshed


def for_any_transport(context: Context) -> dict[str, str]:
    """Return those that any transport can carry: gRPC accepts bytes only for names that end in ``-bin``."""
    return {name: value for name, value in of(context).items() if not name.endswith("-bin")}
