"""A trace as the page of a trace shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from obskit.collector.waterfall import critical_path, skew
from obskit.collector.waterfall.nodes import Node, build, flatten, fold_repeats, join_halves
from obskit.zipkin.model import Span

MOST_ROWS = 10_000  # lines that a browser is sent at once


@dataclass(frozen=True)
class View:
    """The lines in reading order, and what is known of the whole trace. Times are microseconds."""

    rows: list[Node]
    hidden: dict[Node, int]  # lines that are not among the rows, by the nearest one above them that is
    spans: int
    start: int
    end: int
    own: dict[str, int]  # by service
    errors: int  # spans
    moved: int  # spans whose clock was elsewhere...
    furthest: int  # ...and by how much at most

    @property
    def duration(self) -> int:
        """The time between the first moment and the last."""
        return self.end - self.start


def view(spans: list[Span], *, raw: bool = False, focus: str = "") -> View:
    """Return the lines of a trace that has spans. ``raw`` leaves clocks as they are; ``focus`` is the id of the top."""
    nodes = build(spans)
    if not raw:
        skew.correct(nodes)
    moved = [node for node in nodes if node.shift]
    joined = join_halves(nodes)
    roots = [node for node in joined if node.parent is None]
    critical_path.mark(roots[0])
    critical_path.count_own_time(joined)
    top = [node for node in joined if focus in ids_of(node)][:1] or roots
    fold_repeats(joined)
    rows = flatten(top)
    kept, hidden = _cut(rows)
    timed = [node for node in rows if node.start]
    return View(
        kept,
        hidden,
        len(spans),
        min((node.start for node in timed), default=0),
        max((node.end for node in timed), default=0),
        critical_path.own_time_by_service(joined),
        sum("error" in span.tags for span in spans),
        len(moved),
        max((abs(node.shift) for node in moved), default=0),
    )


def ids_of(node: Node) -> tuple[str, ...]:
    """Return the ids of its span and of its server's half."""
    if node.half and node.half.span.id != node.span.id:
        return node.span.id, node.half.span.id
    return (node.span.id,)


def _cut(rows: list[Node]) -> tuple[list[Node], dict[Node, int]]:
    """Return the lines to show, and how many are missing below which. Errors and what was waited for always stay."""
    if len(rows) <= MOST_ROWS:
        return rows, {}
    kept: set[Node] = set()
    wanted: Iterable[Node] = (node for node in rows if node.failed or node.critical)
    for node in [*wanted, *sorted(rows, key=lambda node: node.depth)[:MOST_ROWS]]:
        above: Node | None = node
        while above is not None and above not in kept:
            kept.add(above)
            above = above.parent
    hidden: dict[Node, int] = {}
    nearest = rows[0]
    for node in rows:
        if node in kept:
            nearest = node
        else:
            place = node.parent if node.parent in kept else nearest
            hidden[place] = hidden.get(place, 0) + 1
    return [node for node in rows if node in kept], hidden
