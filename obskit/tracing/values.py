"""What a span may hold as a value: strings, numbers, booleans, and sequences of them."""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

SMALL = 256
"""A value of up to so many characters takes so much of a queue; a longer one its length."""

_ERROR_LENGTH = 1024


def clean(value: object) -> AttributeValue:
    """Return ``value`` if a span may hold it, a snapshot of a sequence, or else its text. Never raises.

    The snapshot is taken because spans are encoded later, on another thread.
    """
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str | bool | int | float) for item in value):
        return tuple(value)
    return text(value)


def heaviness(value: object) -> int:
    """Return the characters of a value that is not small; 0 for the others."""
    if isinstance(value, tuple):
        return sum(SMALL + heaviness(item) for item in value)
    if isinstance(value, str):
        return len(value) if len(value) > SMALL else 0
    return value.bit_length() // 3 if isinstance(value, int) and value.bit_length() > SMALL else 0


def text(value: object) -> str:
    """Return ``str(value)``, or the name of its type where the application's ``__str__`` raises."""
    try:
        return str(value)
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def error_text(error: BaseException | str) -> str:
    """Return the value of an ``error`` tag: the exception's class and message, cut to a sane length."""
    if isinstance(error, str):
        return error[:_ERROR_LENGTH]
    message = text(error)
    name = type(error).__name__
    return f"{name}: {message}"[:_ERROR_LENGTH] if message else name
