"""Headers a service mesh needs copied from the inbound request to outbound calls, unread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.context import Context, create_key

from obskit.propagation.headers import HeaderNames

MESH_KEY = create_key("obskit-mesh-headers")
_LONGEST = 4096


def extract(headers: Mapping[str, str], names: HeaderNames, present: Iterable[str]) -> dict[str, str] | None:
    """Return the mesh headers among those ``present``, by name, or None where there are none; giants are left out."""
    found = {names.mesh[key]: headers[key] for key in present if key in names.mesh}
    return {name: value for name, value in found.items() if len(value) <= _LONGEST} or None


def of(context: Context) -> dict[str, str]:
    """Return the mesh headers of the request that is being served in ``context``."""
    found = context.get(MESH_KEY)
    return found if isinstance(found, dict) else {}
