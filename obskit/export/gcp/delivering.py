"""The mark of the context in which Google's libraries work for us, not for the application.

What they log there does not go where they are bringing things, which would feed on itself; and what google-auth says
at each attempt does not go into the application's log: the pipeline tells once why nothing is delivered, and how often.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context, create_key

from obskit.tracing.current import attach, detach, get_context

_DELIVERING = create_key("obskit-delivering-to-google")
_AUTH_LOGGERS = ("google.auth._default", "google.auth.compute_engine._metadata")


@contextmanager
def delivering() -> Iterator[None]:
    """Mark the context for the length of the block."""
    token = attach(Context({**get_context(), _DELIVERING: True}))
    try:
        yield
    finally:
        detach(token)


def is_delivering() -> bool:
    """Return whether the context is marked."""
    return bool(get_context().get(_DELIVERING))


def hush_google_auth() -> None:
    """Have google-auth log nothing in a marked context; elsewhere it logs as ever. Again, this does nothing."""
    for name in _AUTH_LOGGERS:
        logging.getLogger(name).addFilter(_is_the_applications)


def _is_the_applications(_record: logging.LogRecord) -> bool:
    return not is_delivering()
