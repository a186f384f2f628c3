"""A log line as it is stored, and the words that find it.

Source of the severities: ``google.logging.type.LogSeverity``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

SEVERITIES = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
_NAMES = {number: name for name, number in SEVERITIES.items()}
_words = re.compile(r'(-?)(?:"([^"]+)"|(\S+))').findall
_pieces = re.compile(r'[=."\\\x00-\x1f]').split


class Line(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A line. ``time`` is in microseconds of the epoch; ``id`` counts the lines of a store in order of arrival.

    ``key`` is what the sender calls this line, so that sending it again does not store it again; often empty.
    """

    id: int = 0
    time: int = 0
    severity: int = 0
    service: str = ""
    instance: str = ""
    logger: str = ""
    message: str = ""
    trace: str = ""
    span: str = ""
    source: str = ""  # file:line (function)
    fields: dict[str, Any] = {}
    key: str = ""

    @property
    def level(self) -> str:
        """The name of the severity."""
        return _NAMES.get(self.severity // 100 * 100, "DEFAULT")

    def flat_fields(self) -> Iterator[tuple[str, str]]:
        """Return the fields as names and texts; what is within another has its name behind a dot."""
        return _flat("", self.fields)

    def text(self) -> str:
        """Return what words are looked for in, in lower case."""
        fields = (f"{name}={value}" for name, value in self.flat_fields())
        return "\n".join((self.message, self.logger, self.source, *fields)).lower()


@dataclass(frozen=True)
class Words:
    """Words that a line must have, and such that it must not have, in lower case."""

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    needles: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, text: str) -> Words:
        """From what somebody types: ``timeout "no stock" -debug order=7``."""
        found = [(minus, (phrase or word).lower()) for minus, phrase, word in _words(text)]
        wanted = tuple(word for minus, word in found if not minus)
        # In the JSON, a.b=7 stands as "a":{"b":7}, and what JSON escapes does not stand as it was typed.
        needles = tuple(part for word in wanted for part in _pieces(word) if part)
        return cls(wanted, tuple(word for minus, word in found if minus), needles)

    def may_match(self, json_text: str) -> bool:
        """Return False for the JSON of lines, in lower case, of which none can match."""
        return all(needle in json_text for needle in self.needles)

    def match(self, line: Line) -> bool:
        """Return True for a line that has all of the one kind and none of the other."""
        if not self.wanted and not self.unwanted:
            return True
        text = line.text()
        return all(word in text for word in self.wanted) and not any(word in text for word in self.unwanted)


def severity_of(name: str) -> int | None:
    """Return the number of a severity's name, in any case and with the usual abbreviations; None for another word."""
    name = name.upper()
    return SEVERITIES.get({"WARN": "WARNING", "FATAL": "CRITICAL", "ERR": "ERROR", "TRACE": "DEBUG"}.get(name, name))


def _flat(prefix: str, fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value if isinstance(value, str) else msgspec.json.encode(value).decode()
