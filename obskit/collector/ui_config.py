"""``/zipkin/config.json``: what Zipkin's own web interface (Lens) reads before it shows anything.

Source: ``ZipkinUiConfiguration`` of zipkin-server 3.6.1 with its defaults.
"""

from __future__ import annotations

import msgspec


def ui_config(*, search_enabled: bool) -> bytes:
    """Return the configuration, as JSON."""
    return msgspec.json.encode({**_DEFAULTS, "searchEnabled": search_enabled})


_DEFAULTS = {
    "environment": "",
    "queryLimit": 10,
    "defaultLookback": 900_000,  # milliseconds
    "searchEnabled": True,
    "logsUrl": None,
    "supportUrl": None,
    "archivePostUrl": None,
    "archiveUrl": None,
    "dependency": {"enabled": True, "lowErrorRate": 0.5, "highErrorRate": 0.75},
}
