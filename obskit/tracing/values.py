"""Text of the application's values: whatever they are and do when they are asked, none of it reaches the caller."""

from __future__ import annotations

_ERROR_LENGTH = 1024


def text(value: object) -> str:
    """Return ``value`` as text, or the name of its type where the application's ``__str__`` raises.

    The text is Python's own type: what a subclass overrides would run later, on the thread that encodes it.
    """
    try:
        return str.__str__(value if issubclass(type(value), str) else str(value))
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def error_text(error: object) -> str:
    """Return the value of an ``error`` tag: the exception's class and message, cut to a sane length."""
    message = text(error)
    if not issubclass(type(error), BaseException):
        return message[:_ERROR_LENGTH]
    name = type(error).__name__
    return f"{name}: {message}"[:_ERROR_LENGTH] if message else name


def encodable(text: str) -> str:
    """Return ``text`` with ``?`` for each lone surrogate, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_error(tag: object) -> bool:
    """Return whether an ``error`` tag means that the span failed: to Zipkin any does, but some say that none is."""
    return tag is not None and tag is not False and not (isinstance(tag, str) and tag.lower() == "false")


def truth(value: object) -> bool:
    """Return whether a flag is set; one that cannot say is."""
    try:
        return bool(value)
    except Exception:
        return True
