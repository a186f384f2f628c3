"""elastic-apm: each span is a transaction of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import elasticapm
from log_file import log_to_file

log_to_file("elasticapm")
_client = elasticapm.Client(
    server_url=f"http://{urlsplit(os.environ['BATTERY_URL']).netloc}",
    service_name="battery",
    central_config=False,
    cloud_provider="none",
    metrics_interval="0ms",
)


@contextmanager
def span(name: str, **tags: object) -> Iterator[None]:
    _client.begin_transaction("battery")
    elasticapm.label(**tags)
    try:
        yield
    finally:
        _client.end_transaction(name, "success")


def flush(_timeout: float) -> object:
    return _client._transport.flush()
