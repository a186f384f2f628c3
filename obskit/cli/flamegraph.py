"""Renders profiles as folded stacks, and as a flame graph in a self-contained SVG."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from os.path import basename
from typing import NamedTuple

from obskit.base.pprof import Location, Profile, Sample, ValueType

GROUPS = {"total": "", "endpoint": "http.route", "thread": "thread"}
"""What stacks may be grouped by, with the samples' label for it."""

_WIDTH, _ROW, _CHARACTER = 1200, 17, 6.7
_NARROWEST = 0.3  # pixels
_UNPRINTABLE = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNITS = {"nanoseconds": (1e9, "s"), "bytes": (1e6, "MB")}

Stacks = dict[tuple[str, ...], int]
"""Values by stack, outermost first."""


def fold(profiles: Iterable[Profile], by: str) -> Stacks:
    """Sum the profiles' stacks (the last value of each sample), grouped by a key of ``GROUPS``."""
    stacks: Stacks = {}
    for profile in profiles:
        for sample in profile.samples:
            key = (*_group(sample, GROUPS[by]), *map(_frame, reversed(sample.stack)))
            stacks[key] = stacks.get(key, 0) + sample.values[-1]
    return stacks


def _group(sample: Sample, label: str) -> tuple[str, ...]:
    return (dict(sample.labels).get(label, "(none)"),) if label else ()


def _frame(location: Location) -> str:
    return f"{location.function} ({basename(location.file)})" if location.file else location.function


def folded(stacks: Stacks) -> Iterator[str]:
    """Return a line for each stack, its frames joined by ``;`` and its value, as flamegraph.pl and others read it."""
    for stack, value in sorted(stacks.items()):
        yield f"{';'.join(' '.join(frame.replace(';', ':').split()) for frame in stack)} {value}"


class _Node:
    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.value = 0
        self.children: dict[str, _Node] = {}


class _Box(NamedTuple):
    """A frame's position in the picture: left and width in pixels, and the row."""

    name: str
    node: _Node
    left: float
    width: float
    row: int


def svg(stacks: Stacks, title: str, value_type: ValueType) -> str:
    """Return a flame graph, outermost frames on top; a tooltip shows the full name and the share."""
    root = _tree(stacks)
    boxes = list(_boxes(root))
    height = (max((box.row for box in boxes), default=0) + 3) * _ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="monospace" font-size="11">\n'
        "<style>g:hover rect{stroke:#000}</style>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="4" y="13" font-size="13">{_text(title)}</text>\n'
    )
    return head + "".join(_drawn(box, root.value, value_type) for box in boxes) + "</svg>\n"


def _tree(stacks: Mapping[tuple[str, ...], int]) -> _Node:
    root = _Node()
    for stack, value in stacks.items():
        node = root
        node.value += value
        for frame in stack:
            node = node.children.setdefault(frame, _Node())
            node.value += value
    return root


def _boxes(root: _Node) -> Iterator[_Box]:
    """Return the position of each frame that is wide enough to be seen."""
    waiting = [_Box("all", root, 0.0, float(_WIDTH), 1)]
    while waiting:
        box = waiting.pop()
        yield box
        left = box.left
        for name, node in sorted(box.node.children.items()):
            width = box.width * node.value / box.node.value if box.node.value else 0.0
            if width >= _NARROWEST:
                waiting.append(_Box(name, node, left, width, box.row + 1))
            left += width


def _drawn(box: _Box, total: int, value_type: ValueType) -> str:
    y = box.row * _ROW
    share = 100 * box.node.value / total if total else 0.0
    room = int((box.width - 6) / _CHARACTER)
    shown = box.name if len(box.name) <= room else box.name[: max(0, room - 1)] + "…"
    text = f'<text x="{box.left + 3:.1f}" y="{y + 12}">{_text(shown)}</text>' if room > 2 else ""
    return (
        f"<g><title>{_text(box.name)}: {amount(box.node.value, value_type)}, {share:.2f} %</title>"
        f'<rect x="{box.left:.1f}" y="{y}" width="{box.width:.1f}" height="{_ROW - 1}" fill="{_colour(box.name)}"/>'
        f"{text}</g>\n"
    )


def amount(value: int, value_type: ValueType) -> str:
    """Return a value with its unit: ``1.250 s``."""
    factor, unit = _UNITS.get(value_type.unit, (1, value_type.unit))
    return f"{value / factor:.3f} {unit}" if factor != 1 else f"{value} {unit}"


def _text(text: str) -> str:
    return escape(_UNPRINTABLE.sub("\ufffd", text))


def _colour(name: str) -> str:
    """Return a warm colour, the same for the same name in every picture."""
    number = zlib.crc32(name.encode("utf-8", "replace"))
    return f"hsl({number % 50},{70 + number // 50 % 25}%,{65 + number // 2000 % 12}%)"
