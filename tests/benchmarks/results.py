"""From each side's blocks to medians, ratios and verdicts; as a table, and as JSON."""

from __future__ import annotations

from statistics import mean, median, quantiles
from typing import Any, NamedTuple

from clocks import Figures
from measurements import Bar, Measurement
from sides import BARE, OBSKIT

Blocks = list[tuple[str, Figures]]
"""The blocks of one process in the order in which they ran, each as its side and what one operation cost it."""

Costs = dict[str, list[float]]
"""Microseconds per operation of each round, by side."""


class Spread(NamedTuple):
    """A median, and the quartiles around it."""

    median: float
    lower: float
    upper: float


class Row(NamedTuple):
    """One figure of one measurement, compared with one other. Costs are what a side adds to bare, if ``added``."""

    title: str
    figure: str
    bare: Spread | None
    obskit: Spread
    other: Spread
    added: bool
    ratio: Spread
    bar: Bar
    met: bool | None


def rows(measurement: Measurement, processes: list[Blocks]) -> list[Row]:
    """Return a row for each figure that the measurement gave and each of its bars."""
    figures = processes[0][0][1]
    return [_row(measurement.title, figure, bar, processes) for figure in figures for bar in measurement.bars]


def _row(title: str, figure: str, bar: Bar, processes: list[Blocks]) -> Row:
    whole, added = _costs(figure, processes, _cost), _costs(figure, processes, _added)
    costs = whole if bar.other == BARE or BARE not in whole else added
    ours, theirs = _spread(costs[OBSKIT]), _spread(costs[bar.other])
    pairs = zip(costs[OBSKIT], costs[bar.other], strict=False)  # bare has more blocks than the others
    each = [mine / yours if yours else float("inf") for mine, yours in pairs]
    ratio = _spread(each)._replace(median=ours.median / theirs.median)
    bare = _spread(whole[BARE]) if BARE in whole else None
    return Row(title, figure, bare, ours, theirs, costs is added, ratio, bar, _met(bar, ours, ratio))


def _met(bar: Bar, ours: Spread, ratio: Spread) -> bool | None:
    if bar.microseconds is not None:
        return ours.median <= bar.microseconds
    return None if bar.limit is None else ratio.median <= bar.limit


def _costs(figure: str, processes: list[Blocks], cost: Any) -> Costs:
    found: Costs = {}
    for blocks in processes:
        for index, (side, _) in enumerate(blocks):
            found.setdefault(side, []).append(cost(figure, blocks, index))
    return found


def _cost(figure: str, blocks: Blocks, index: int) -> float:
    return blocks[index][1][figure]


def _added(figure: str, blocks: Blocks, index: int) -> float:
    """Return what a block cost more than the bare ones next to it: what changes slowly cancels out."""
    neighbours = [_cost(figure, blocks, near) for near in (index - 1, index + 1) if 0 <= near < len(blocks)]
    return _cost(figure, blocks, index) - mean(neighbours)


def _spread(values: list[float]) -> Spread:
    lower, _, upper = quantiles(values, n=4) if len(values) > 1 else values * 3
    return Spread(median(values), lower, upper)


_HEAD = ("us per operation: median [quartiles]", BARE, OBSKIT, "compared with", "ratio [quartiles]", "bar", "")


def table(found: list[Row]) -> str:
    """Return the rows as text, a line each."""
    lines = [_HEAD, *(_cells(row) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    sign = "+" if row.added else ""
    bare = _text(row.bare) if row.bare else ""
    other = f"{row.bar.other} {sign}{_text(row.other)}"
    ratio = "{:.3f} [{:.3f}-{:.3f}]".format(*row.ratio)
    verdict = {True: "met", False: "missed", None: ""}[row.met]
    return (f"{row.title}: {row.figure}", bare, sign + _text(row.obskit), other, ratio, str(row.bar), verdict)


def _text(spread: Spread) -> str:
    digits = 0 if spread.median >= 1000 else 1 if spread.median >= 10 else 2
    return f"{spread.median:.{digits}f} [{spread.lower:.{digits}f}-{spread.upper:.{digits}f}]"


def as_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it; costs in microseconds."""
    return {
        "measurement": row.title,
        "figure": row.figure,
        "bare": row.bare._asdict() if row.bare else None,
        "obskit": row.obskit._asdict(),
        "other": {"name": row.bar.other, **row.other._asdict()},
        "added": row.added,
        "ratio": row.ratio._asdict(),
        "bar": row.bar._asdict(),
        "met": row.met,
    }
