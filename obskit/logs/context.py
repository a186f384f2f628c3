"""Fields that every log record in a scope carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context

from obskit.tracing.current import FIELDS_KEY, attach, detach, get_context

_NONE: Mapping[str, Any] = {}


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add ``fields`` to every log record of the block, of its tasks, and of the threads it hands work to.

    Inner scopes add to outer ones and win over them; a record's own ``extra=`` wins over both.
    """
    context = get_context()
    token = attach(Context({**context, FIELDS_KEY: {**log_fields(), **fields}}))
    try:
        yield
    finally:
        detach(token)


def log_fields() -> Mapping[str, Any]:
    """Return the fields of the current scopes."""
    found = get_context().get(FIELDS_KEY, _NONE)
    return found if isinstance(found, Mapping) else _NONE
