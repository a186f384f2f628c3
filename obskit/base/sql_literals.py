"""Masks the literals of SQL in text: in statements, and in what a database's errors repeat of them.

Every pattern takes linear time: each repetition is bounded, or ends where its text can be read in one way only. If
it is unclear how far a literal reaches, too much is masked rather than too little.
"""

from __future__ import annotations

import re

from obskit.base.patterns import pattern

_STATEMENT = pattern(
    r"""\b(?:
      (?:insert|replace|merge)\s(?:[\s\w]{0,40}\s)?into\s
      | delete\s{1,9}from\s
      | update\s{1,9}\S{1,200}\s{1,9}(?:\S{1,200}\s{1,9}){0,2}set\s{1,9}\S{1,200}?\s{0,9}=
      | values\s{0,9}\(
      | where\s{1,9}\S{1,200}?\s{0,9}(?:[=<>]|(?:like|in|between)\s{0,9}['"(\d])
      | select\s{1,9}(?:'|\w{1,60}\s?\()
      | (?:alter|create)\s{1,9}(?:user|role)\s
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_SELECT, _FROM = pattern(r"\bselect\s", re.IGNORECASE), pattern(r"\sfrom\s", re.IGNORECASE)
_VALUES = pattern(r"\bvalues\s{0,9}\(", re.IGNORECASE)

_QUOTED = pattern(r"(?<!\w)(?:[nexb]|u&)?'(?:[^']|'')*(?:'|\Z)", re.IGNORECASE)
_UNCLEAR = pattern(r"\\'|\$\w{0,60}\$")  # an escaped quote, or one backslash; PostgreSQL's own way of quoting
_COMPARED = pattern(r'((?:[=<>]|\blike)\s{0,9})"[^"]*(?:"(?!\.)|\Z)', re.IGNORECASE)  # else it is a name
_DOUBLE_QUOTED = pattern(r'"[^"]*"?')
_NUMBER = pattern(r"(?<![\w.$:?@%\"`#/-])(?<!line )-?\d+(?:\.\d+)?\b")

_REPEATED = pattern(
    r"""(
      \bKey\ \([^\n]{1,200}?\)= | \bFailing\ row\ contains\  | \binvalid\ input\ syntax\ for\ [\w ]{1,60}:\ (?=")
      | \bDuplicate\ entry\ (?=') | \bnear\ (?=')
      | \[parameters:\s
    )[^\n]+""",
    re.VERBOSE,
)
"""Where PostgreSQL, MySQL and SQLAlchemy repeat values, up to the end of the line."""


_HINTS = (
    *("insert", "replace", "merge", "delete", "update", "values", "where", "select", "user", "role"),
    *("key (", "failing row", "invalid input", "duplicate entry", "near '", "[parameters"),
)
"""Whatever the patterns match contains one of these, so most texts need no pattern."""


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}?"


def mask_literals(text: str) -> str:
    """Return ``text`` with ``?`` for each literal, if it looks like SQL or like a database's error."""
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    text = _REPEATED.sub(_masked, text)
    start = _find_statement(text)
    if start < 0:
        return text
    unclear = _UNCLEAR.search(text)
    if unclear is not None:
        first = text.find("'")
        return text[: min(first, unclear.start()) if first >= 0 else unclear.start()] + "?"
    head, statement = _QUOTED.sub("?", text[:start]), _QUOTED.sub("?", text[start:])
    statement = _COMPARED.sub(_masked, statement)
    values = _VALUES.search(statement)
    if values is not None:
        statement = statement[: values.end()] + _DOUBLE_QUOTED.sub("?", statement[values.end() :])
    return head + _NUMBER.sub("?", statement)


def _find_statement(text: str) -> int:
    """Return where SQL begins, or -1."""
    found = _STATEMENT.search(text)
    select = _SELECT.search(text)
    if select is not None and (found is None or select.start() < found.start()) and _FROM.search(text, select.end()):
        return select.start()
    return -1 if found is None else found.start()
