"""Text of the application's values; an exception in one of their methods never reaches the caller."""

from __future__ import annotations

from obskit.base.interruptions import let_through
from obskit.base.plain import Renderer, holds_others, whole_words

_ERROR_LENGTH = 1024
_LONGEST_DETAIL = 300


def text(value: object) -> str:
    """Return ``value`` as text, or the name of its type where the application's ``__str__`` raises.

    The text is Python's own type: what a subclass overrides would run later, on the thread that encodes it.
    """
    try:
        if issubclass(type(value), str):
            return str.__str__(value)
        return _bounded_text(value) if holds_others(value) else str.__str__(str(value))
    except Exception:
        let_through()
        return f"<unprintable {type(value).__name__}>"


def _bounded_text(value: object) -> str:
    """Return the text of a container, unless it is too large to print."""
    renderer = Renderer()
    shown = renderer.plain(value)
    return str(shown) if renderer.truncated else str.__str__(str(value))


def error_text(error: object) -> str:
    """Return the value of an ``error`` tag: the exception's class and message, cut to a sane length."""
    message = text(error)
    if not issubclass(type(error), BaseException):
        return _short(message)
    name = type(error).__name__
    return _short(f"{name}: {message}") if message else name


def _short(text: str) -> str:
    return text if len(text) <= _ERROR_LENGTH else whole_words(text, _ERROR_LENGTH)


def one_line(said: object) -> str:
    """Return what a server or a library said as one line without control characters, and not all of it.

    Where an exception says nothing that is the name of its class.
    """
    shown = "".join(char if char.isprintable() else " " for char in str(said)[:_LONGEST_DETAIL])
    return " ".join(shown.split()) or (type(said).__name__ if isinstance(said, BaseException) else "")


def encodable(text: str) -> str:
    """Return ``text`` with ``?`` for each lone surrogate, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_error(tag: object) -> bool:
    """Return whether an ``error`` tag means a failure: in Zipkin any value does, but some write ``false``."""
    return tag is not None and tag is not False and not (isinstance(tag, str) and tag.lower() == "false")


def truth(value: object) -> bool:
    """Return whether a flag is set; one whose ``__bool__`` raises counts as set."""
    try:
        return bool(value)
    except Exception:
        let_through()
        return True
