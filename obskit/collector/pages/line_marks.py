"""The marks of log lines on the bars of a waterfall."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from obskit.collector.pages.markup import Html, render
from obskit.collector.pages.show import count
from obskit.collector.pages.trace_lines import LEVELS, Mark

_MARK = '<svg class="log {kind}" x="{x}%" y="12"><title>{text}</title><path d="{shape}"/></svg>'
_NARROWEST_MARK = 0.6  # percent of the width
_WORDS = ("", "warning", "error")
# Told apart by shape, not by colour alone: a dot, a triangle, a cross. The same are in waterfall.js.
_SHAPES = (
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "M0-5L5 4H-5Z",
    "M-2-4L0-2L2-4L4-2L2 0L4 2L2 4L0 2L-2 4L-4 2L-2 0L-4-2Z",
)


def lines_said(marks: Sequence[Mark]) -> str:
    """Return how many log lines a row has, and of which kind the worst are."""
    worst = max(level for _, level, _ in marks)
    bad = sum(level == worst for _, level, _ in marks)
    return count(len(marks), "line") + (f", {count(bad, _WORDS[worst])}" if worst else "")


def marks_on_bar(marks: Iterable[Mark], duration: int) -> Iterator[Html]:
    """Yield the marks of log lines on a bar; of several at one place the worst."""
    places: dict[int, tuple[float, Mark]] = {}
    for mark in sorted(marks, key=lambda mark: mark[1]):
        x = 100 * mark[0] / (duration or 1)
        if 0 <= x <= 100:
            places[int(x / _NARROWEST_MARK)] = x, mark
    for x, (_, level, text) in places.values():
        yield render(_MARK, x=f"{x:.3f}", kind=LEVELS[level], shape=_SHAPES[level], text=text)
