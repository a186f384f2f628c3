"""What a span may hold as a value: strings, numbers, booleans, and sequences of them."""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

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
