"""py-zipkin with its own HTTP transport, which sends on the application's thread."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from log_file import log_to_file
from py_zipkin import Encoding
from py_zipkin.transport import SimpleHTTPTransport
from py_zipkin.zipkin import zipkin_span

log_to_file("py_zipkin")
_parts = urlsplit(os.environ["BATTERY_URL"])
_transport = SimpleHTTPTransport(_parts.hostname, _parts.port)


def span(name: str, **tags: Any) -> Any:
    return zipkin_span(
        service_name="battery",
        span_name=name,
        binary_annotations=tags,
        sample_rate=100.0,
        transport_handler=_transport,
        encoding=Encoding.V2_JSON,
    )


def flush(_timeout: float) -> bool:
    return True
