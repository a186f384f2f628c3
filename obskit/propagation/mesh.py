"""Headers a service mesh needs copied from the inbound request to outbound calls, unread."""

from __future__ import annotations

from opentelemetry.context import Context, create_key

from obskit.propagation.headers import Get, HeaderNames

MESH_KEY = create_key("obskit-mesh-headers")
_LONGEST = 4096


def extract(get: Get, names: HeaderNames) -> dict[str, str] | None:
    """Return the mesh headers of a request by name, or None where there are none; giant ones are left out."""
    found = None
    for name, spelled in names.mesh:
        value = get(spelled)
        if value is not None and len(value) <= _LONGEST:
            found = found or {}
            found[name] = value
    return found


def of(context: Context) -> dict[str, str]:
    """Return the mesh headers of the request that is being served in ``context``."""
    found = context.get(MESH_KEY)
    return found if isinstance(found, dict) else {}
