"""The boxes of a flame graph as SVG: outermost on top, each above what it called, as wide as its share.

``flame.js`` moves between them by arrow keys; without it the tables below a graph have the same links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

from obskit.collector.pages.markup import Html, join, render

T = TypeVar("T")

_ROW = 18  # pixels
_DEEPEST = 120
_NARROWEST = 0.1  # percent of the width
_NARROWEST_WITH_TEXT = 2.5
_MOST_DRAWN = 2_000
_FLAME = """<div class="card flame"><svg height="{height}" role="group" aria-label="{label}, outermost on top">
{boxes}</svg></div>
"""
_BOX = """<a href="{url}" tabindex="{tab}"><svg x="{x}%" y="{y}" width="{width}%" height="17">\
<title>{title}</title><rect class="{kind}" width="100%" height="17"/>{text}</svg></a>
"""
_TEXT = '<text x="4" y="13">{text}</text>'


class Box(NamedTuple):
    """What a box says inside and as its title, where it leads, and its classes in the style sheet."""

    text: str
    title: str
    url: str
    kind: str


class _Place(NamedTuple):
    x: float
    width: float
    row: int


def flame(label: str, top: T, parts: Callable[[T], Iterable[tuple[float, T]]], box: Callable[[T, bool], Box]) -> Html:
    """Return the graph of what is below ``top``, which is as wide as the picture.

    ``parts`` gives what one called with their widths in percent of the picture; ``box`` what to draw, told if it is
    the top. Calls that nobody could see are left out: under 0.1 percent, below 120 others, beyond 2,000.
    """
    drawn = list(islice(_places(top, parts), _MOST_DRAWN))
    height = (max(place.row for place, _ in drawn) + 1) * _ROW
    boxes = join(_box(place, box(item, place.row == 0)) for place, item in drawn)
    return render(_FLAME, label=label, height=height, boxes=boxes)


def _places(top: T, parts: Callable[[T], Iterable[tuple[float, T]]]) -> Iterator[tuple[_Place, T]]:
    """Yield the calls that are wide enough to be seen, row by row."""
    waiting = [(_Place(0.0, 100.0, 0), top)]
    for place, item in waiting:
        yield place, item
        x = place.x
        for width, part in sorted(parts(item), key=lambda part: -part[0]):
            if width >= _NARROWEST and place.row < _DEEPEST:
                waiting.append((_Place(x, width, place.row + 1), part))
            x += width


def _box(place: _Place, box: Box) -> Html:
    return render(
        _BOX,
        url=box.url,
        tab=-1 if place.row else 0,
        x=f"{place.x:.3f}",
        y=place.row * _ROW,
        width=f"{place.width:.3f}",
        title=box.title,
        kind=box.kind,
        text=render(_TEXT, text=box.text) if place.width > _NARROWEST_WITH_TEXT else Html(""),
    )
