"""From each side's rounds to medians, ratios and verdicts; as a table, and as JSON."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

from measurements import Bar, Measurement
from sides import BARE, OBSKIT, PEER

Rounds = dict[str, list[float]]
"""Microseconds per operation of each round, by side; rounds with the same index ran next to each other."""


class Spread(NamedTuple):
    """A median, and the smallest and largest round."""

    median: float
    min: float
    max: float


class Row(NamedTuple):
    """One figure of one measurement. Sides other than bare are given as what they add to it, where it was measured."""

    title: str
    figure: str
    sides: dict[str, Spread]
    ratio: Spread
    bar: Bar | None
    met: bool | None


def rows(measurement: Measurement, figures: dict[str, Rounds]) -> list[Row]:
    """Return a row for each figure that the measurement's rounds gave."""
    return [_row(measurement, figure, rounds) for figure, rounds in figures.items()]


def _row(measurement: Measurement, figure: str, rounds: Rounds) -> Row:
    bar = measurement.bar
    whole = bar is not None and bar.of == BARE
    costs = rounds if whole else {side: _added(side, rounds) for side in rounds}
    ratio = _ratio(costs[OBSKIT], costs[BARE if whole else PEER])
    spreads = {side: _spread(values) for side, values in costs.items()}
    met = None if bar is None else (spreads[OBSKIT] if bar.of == "us" else ratio).median <= bar.limit
    return Row(measurement.title, figure, spreads, ratio, bar, met)


def _added(side: str, rounds: Rounds) -> list[float]:
    if side == BARE or BARE not in rounds:
        return rounds[side]
    return [value - bare for value, bare in zip(rounds[side], rounds[BARE], strict=True)]


def _spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def _ratio(ours: list[float], theirs: list[float]) -> Spread:
    """Return the ratio of the medians, and the smallest and largest ratio of one round."""
    each = [mine / yours if yours else float("inf") for mine, yours in zip(ours, theirs, strict=True)]
    return Spread(median(ours) / median(theirs), min(each), max(each))


_HEAD = ("us per operation: median [min-max]", BARE, OBSKIT, PEER, "ratio [min-max]", "bar", "")


def table(found: list[Row]) -> str:
    """Return the rows as text, a line each."""
    lines = [_HEAD, *(_cells(row) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    added = "+" if BARE in row.sides and not (row.bar and row.bar.of == BARE) else ""
    shown = [_text(row.sides.get(side), "" if side == BARE else added) for side in (BARE, OBSKIT, PEER)]
    ratio = "{:.3f} [{:.3f}-{:.3f}]".format(*row.ratio)
    verdict = {True: "met", False: "missed", None: ""}[row.met]
    return (f"{row.title}: {row.figure}", *shown, ratio, str(row.bar or ""), verdict)


def _text(spread: Spread | None, sign: str) -> str:
    if spread is None:
        return ""
    digits = 0 if spread.median >= 1000 else 1 if spread.median >= 10 else 2
    return f"{sign}{spread.median:.{digits}f} [{spread.min:.{digits}f}-{spread.max:.{digits}f}]"


def as_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it; ``sides`` in microseconds."""
    return {
        "measurement": row.title,
        "figure": row.figure,
        "microseconds": {side: spread._asdict() for side, spread in row.sides.items()},
        "ratio": row.ratio._asdict(),
        "bar": row.bar._asdict() if row.bar else None,
        "met": row.met,
    }
