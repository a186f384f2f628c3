"""The error for a bad option, and how it shows the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from obskit.export.net.url import masked

_LONGEST_SHOWN = 200


class ConfigurationError(ValueError):
    """An option has a value that cannot be used. The message names the option, the value and the remedy."""


class PartlyUsed(ValueError):
    """A variable of another tool cannot be used, or only in part: ``value`` is what remains.

    Such variables are often set for a whole platform, so they are ignored with a warning, as OpenTelemetry's
    specification demands.
    """

    def __init__(self, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.value = value


Read = Callable[[Any], Any]
"""Converts an argument or a variable's text to the option's type; raises ValueError saying what the value must be."""


def read_value(source: str, read: Read, value: Any) -> Any:
    """Return ``read(value)``; turn its ValueError into a ConfigurationError that names ``source``."""
    try:
        return read(value)
    except PartlyUsed:
        raise
    except ValueError as error:
        raise ConfigurationError(f"{source}={shown(value)} {error}") from None


def shown(value: Any) -> str:
    """Return ``value`` on one line, as it may be given, without credentials in a URL."""
    several = isinstance(value, list | tuple) and not hasattr(value, "_fields")
    text = f"[{', '.join(masked(repr(one)) for one in value)}]" if several else masked(repr(value))
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
