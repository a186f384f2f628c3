"""The small blocks at the end: every search reads them, so they are merged."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from obskit.collector.store.block_table import BlockTable
from obskit.collector.store.blocks import MOST_BYTES, MOST_SPANS, Block, Damaged, decode_lines, lines_of, pack
from obskit.collector.store.database import Database
from obskit.zipkin.model import Span

_TINY = 16  # spans: blocks of fewer are merged early
_MOST_TINY = 32
_LONGEST = _MOST_TINY + MOST_SPANS // _TINY


@dataclass(frozen=True)
class _Small:
    """A block that will be merged with the next ones."""

    number: int
    last: int
    spans: int
    size: int
    content: tuple[list[Span], list[bytes]] | None = None  # the spans and their JSON, unless another process stored it


class Tail:
    """The blocks that are not final, in order; changes are made within transactions of the caller's."""

    def __init__(self, table: BlockTable) -> None:
        self._table = table
        self._blocks: list[_Small] = []

    def reload(self, database: Database) -> None:
        """Reads what the database holds."""
        self._blocks.clear()
        last_ones = "SELECT number, last, spans, length(data), length(filter) FROM blocks ORDER BY number DESC LIMIT ?"
        for number, last, spans, size, filter_size in database.rows(last_ones, _LONGEST):
            if filter_size:
                break
            self._blocks.insert(0, _Small(number, last, spans, size))

    def append(self, number: int, block: Block, spans: list[Span], lines: list[bytes]) -> None:
        """Remembers a small block that was stored, and what is in it."""
        self._blocks.append(_Small(number, number, block.spans, len(block.data), (spans, lines)))

    def remove(self, number: int) -> None:
        """Forgets a block that was deleted, or is final now."""
        self._blocks = [small for small in self._blocks if small.number != number]

    def merge(self, connection: sqlite3.Connection) -> None:
        """Makes one final block of all once they are enough, and one small of the tiny ones before."""
        spans, size = sum(small.spans for small in self._blocks), sum(small.size for small in self._blocks)
        tiny = [small for small in self._blocks[-_MOST_TINY:] if small.spans < _TINY]
        if spans >= MOST_SPANS or size >= MOST_BYTES // 4:
            self.finish(connection)
        elif len(tiny) == _MOST_TINY:
            self._blocks[-_MOST_TINY:] = self._merge(connection, tiny, final=False)

    def finish(self, connection: sqlite3.Connection) -> None:
        """Makes one final block of all."""
        if self._blocks:
            self._merge(connection, self._blocks, final=True)
            self._blocks.clear()

    def _merge(self, connection: sqlite3.Connection, small: list[_Small], *, final: bool) -> list[_Small]:
        """What came with the number of any is found by the range of the new one.

        Damaged ones stay as they are, and none is returned.
        """
        first, last = small[0].number, small[-1].last
        try:
            spans, lines = _contents(small) or _read(connection, first, last)
        except Damaged:
            return []
        block = pack(spans, lines, final=final)
        self._table.replace(connection, first, last, block)
        return [_Small(first, last, block.spans, len(block.data), (spans, lines))]


def _contents(small: list[_Small]) -> tuple[list[Span], list[bytes]] | None:
    """What is in some blocks, where it is known and no other block is between them."""
    spans: list[Span] = []
    lines: list[bytes] = []
    for number, block in enumerate(small):
        if block.content is None or (number and block.number != small[number - 1].last + 1):
            return None
        spans += block.content[0]
        lines += block.content[1]
    return spans, lines


def _read(connection: sqlite3.Connection, first: int, last: int) -> tuple[list[Span], list[bytes]]:
    """The same from the database. Raises Damaged."""
    statement = "SELECT data FROM blocks WHERE number BETWEEN ? AND ? ORDER BY number"
    lines = [line for (data,) in connection.execute(statement, (first, last)).fetchall() for line in lines_of(data)]
    return decode_lines(lines), lines
