"""What a bad option raises, and how it shows the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from obskit.export.net.url import masked

_LONGEST_SHOWN = 200


class ConfigurationError(ValueError):
    """An option has a value that cannot be used. The message names the option, the value and the remedy."""


class PartlyUsed(ValueError):
    """What a variable of the ecosystem says cannot be used, or not all of it: ``value`` is what remains.

    Such variables are often set for a whole platform: OpenTelemetry's specification has them warned of, and ignored.
    """

    def __init__(self, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.value = value


Read = Callable[[Any], Any]
"""Turns a value, given as an argument or as text, into the option's type; raises ValueError saying what it must be."""


def read_value(source: str, read: Read, value: Any) -> Any:
    """Return what ``read`` makes of ``value``; raise ConfigurationError, naming ``source``, where it cannot."""
    try:
        return read(value)
    except PartlyUsed:
        raise
    except ValueError as error:
        raise ConfigurationError(f"{source}={shown(value)} {error}") from None


def shown(value: Any) -> str:
    """Return ``value`` on one line, without the credentials a URL may hold."""
    text = masked(repr(value))
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
