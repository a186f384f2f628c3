"""sentry-sdk: each span is a transaction of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import sentry_sdk
from log_file import log_to_file
from sentry_sdk.integrations.atexit import AtexitIntegration

log_to_file("sentry_sdk")
_hook: list[object] = []


def _before_send(event: object, _hint: object) -> object:
    if _hook:
        raise RuntimeError("the application's hook")
    return event


def _quiet(_pending: int, _timeout: float) -> None:
    """Instead of the default, which prints what it waits for."""


sentry_sdk.init(
    dsn=f"http://key@{urlsplit(os.environ['BATTERY_URL']).netloc}/1",
    traces_sample_rate=1.0,
    before_send_transaction=_before_send,
    integrations=[AtexitIntegration(callback=_quiet)],
)


@contextmanager
def span(name: str, **tags: object) -> Iterator[None]:
    with sentry_sdk.start_transaction(name=name, op="battery") as transaction:
        for key, value in tags.items():
            transaction.set_data(key, value)
        yield


def flush(timeout: float) -> None:
    return sentry_sdk.flush(timeout)


def raising_hook() -> None:
    _hook.append(True)


def raising_processor() -> None:
    def refuse(_event: object, _hint: object) -> object:
        raise RuntimeError("the application's processor")

    sentry_sdk.get_global_scope().add_event_processor(refuse)
