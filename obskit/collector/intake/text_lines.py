"""Plain text as log lines: without colours, a traceback with the line before it as one, a severity where one shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_without_escapes = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])").sub
_first_severity = re.compile(r"\b(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|CRITICAL|FATAL)\b").search
_WHERE = 80  # characters from the start in which a severity stands


def without_escapes(text: str) -> str:
    """Return the text without what colours it on a terminal."""
    return _without_escapes("", text) if "\x1b" in text else text


def severity_in(text: str) -> str:
    """Return the name of a severity that a line of text begins with, or has near its start; ERROR for a traceback."""
    found = _first_severity(text, 0, _WHERE)
    return found[1] if found else "ERROR" if _TRACEBACK in text else "DEFAULT"


class Joiner:
    """Puts together lines that belong together: what is indented, and a traceback, go to the line before."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._in_traceback = self._after_traceback = False

    def add(self, line: str) -> str | None:
        """Return the text that is complete now that another line has come; None when this line belongs to it."""
        if self._held and self._continues(line):
            self._held.append(line)
            return None
        complete = self.rest()
        self._held = [line]
        self._in_traceback = line.startswith(_TRACEBACK)
        return complete

    def rest(self) -> str | None:
        """Return what is held, when no line follows."""
        complete = "\n".join(self._held).rstrip() if self._held else None
        self._held = []
        self._in_traceback = self._after_traceback = False
        return complete

    def _continues(self, line: str) -> bool:
        if line.startswith(_TRACEBACK):
            self._in_traceback, self._after_traceback = True, False
            return True
        if self._after_traceback:  # a cause may follow, behind an empty line
            return not line.strip() or line.startswith(_CHAINED)
        if self._in_traceback and line[:1] not in {" ", "\t"}:
            self._in_traceback, self._after_traceback = not line, bool(line)
            return True
        return self._in_traceback or (line[:1] in {" ", "\t"} and bool(line.strip()))


def joined(lines: Iterable[str]) -> Iterator[str]:
    """Return the texts of lines, tracebacks joined, empty ones left out."""
    joiner = Joiner()
    for line in lines:
        if complete := joiner.add(line):
            yield complete
    if complete := joiner.rest():
        yield complete
