"""The tracebacks in a message, each with the line that says which exception it was.

``pages/static/tracebacks.js`` does the same for lines that come while the page is open.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CHAINED = "The above exception was the direct cause|During handling of the above exception"
_begins = re.compile(r"^(?:  \+ Exception Group )?Traceback \(most recent call last\):\n", re.MULTILINE).finditer
_chain = re.compile(rf"\n\n(?=(?:{_CHAINED})[^\n]*\n\n\Z)").search
_exception = re.compile(r"^(\S[^\n]*)", re.MULTILINE).search
_group = re.compile(r"^  \| (\S[^\n]*)", re.MULTILINE).search


class Piece(NamedTuple):
    """A part of a message: a traceback if it has an ``exception``, the first line of what Python says of that."""

    text: str
    exception: str = ""


def pieces(message: str) -> list[Piece]:
    """Return the parts of a message, none of them blank. A traceback that is cut off before its exception is text."""
    begins = list(_begins(message)) if "Traceback (" in message else []
    ends = [*(begin.start() for begin in begins), len(message)]
    found = [Piece(message[: ends[0]])]
    for begin, end in zip(begins, ends[1:], strict=True):
        found += _parts(message[begin.start() : end], len(begin[0]))
    return [piece for piece in found if piece.text.strip()]


def _parts(text: str, frames: int) -> list[Piece]:
    """Return a traceback, and the sentence that leads to the next one."""
    exception = (_group if text.startswith(" ") else _exception)(text[frames:])
    chain = _chain(text)
    end = chain.start() if chain else len(text)
    return [Piece(text[:end], exception[1] if exception else ""), Piece(text[end:])]


def exception_of(message: str) -> str:
    """Return the line that names the exception of the last traceback, which is the one that was raised; or nothing."""
    return next((piece.exception for piece in reversed(pieces(message)) if piece.exception), "")
