"""Headers a service mesh needs copied from the inbound request to outbound calls, unread."""

from __future__ import annotations

from collections.abc import Container, Mapping

from opentelemetry.context import Context, create_key

from obskit.propagation.headers import HeaderNames, sendable

MESH_KEY = create_key("obskit-mesh-headers")
_LONGEST = 4096
_LONGEST_TOGETHER = 8192  # servers bound the head of a request, by 16 KiB or so


def extract(headers: Mapping[str, str], names: HeaderNames, present: Container[str]) -> dict[str, str] | None:
    """Return the mesh headers among those ``present``, by name, or None where there are none.

    Left out are giants, and what a client would refuse to send: a caller must not make our own calls fail.
    """
    found: dict[str, str] = {}
    room = _LONGEST_TOGETHER
    for key, name in names.mesh.items():
        value = headers[key].strip(" \t") if key in present else ""
        if value and len(value) <= min(_LONGEST, room) and sendable(value):
            found[name] = value
            room -= len(value)
    return found or None


def of(context: Context) -> dict[str, str]:
    """Return the mesh headers of the request that is being served in ``context``."""
    found = context.get(MESH_KEY)
    return found if isinstance(found, dict) else {}


def for_any_transport(context: Context) -> dict[str, str]:
    """Return those that any kind of message can carry: gRPC wants bytes, and nothing else, below ``-bin`` names."""
    return {name: value for name, value in of(context).items() if not name.endswith("-bin")}
