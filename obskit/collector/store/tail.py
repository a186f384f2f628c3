"""Merges the small blocks at the end of the store, which every search has to read."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from obskit.collector.store.block_table import BlockTable
from obskit.collector.store.blocks import MOST_BYTES, MOST_SPANS, Block, Damaged, Part, decode_lines, lines_of, pack
from obskit.collector.store.database import Database

_TINY = 16  # spans: blocks with fewer are merged early
_MOST_TINY = 32
_LONGEST = _MOST_TINY + MOST_SPANS // _TINY
_NONE = 2**62  # above the numbers of all blocks


@dataclass(frozen=True)
class _Small:
    """A block that will be merged with the following ones."""

    number: int
    last: int
    spans: int
    size: int
    content: Part | None = None  # None if an earlier process stored it


class Tail:
    """The blocks that are not final, in order. Changes are made within the caller's transactions."""

    def __init__(self, table: BlockTable) -> None:
        self._table = table
        self._blocks: list[_Small] = []

    def reload(self, database: Database) -> None:
        """Read the small blocks from the database."""
        self._blocks.clear()
        last_ones = "SELECT number, last, spans, length(data), length(filter) FROM blocks ORDER BY number DESC LIMIT ?"
        for number, last, spans, size, filter_size in database.rows(last_ones, _LONGEST):
            if filter_size:
                break
            self._blocks.insert(0, _Small(number, last, spans, size))

    @property
    def begin(self) -> int:
        """Return the number of the first block that will change; one above all if there is none."""
        return self._blocks[0].number if self._blocks else _NONE

    def append(self, number: int, block: Block, part: Part) -> None:
        """Note a small block that was stored, with its contents."""
        self._blocks.append(_Small(number, number, block.spans, len(block.data), part))

    def remove(self, number: int) -> None:
        """Remove a block that was deleted, or is final now."""
        self._blocks = [small for small in self._blocks if small.number != number]

    def merge(self, connection: sqlite3.Connection) -> None:
        """Merge all into a final block once they are large enough; before that, merge tiny ones into a small one."""
        spans, size = sum(small.spans for small in self._blocks), sum(small.size for small in self._blocks)
        tiny = [small for small in self._blocks[-_MOST_TINY:] if small.spans < _TINY]
        if spans >= MOST_SPANS or size >= MOST_BYTES // 4:
            self.finish(connection)
        elif len(tiny) == _MOST_TINY:
            self._blocks[-_MOST_TINY:] = self._merge(connection, tiny, final=False)

    def finish(self, connection: sqlite3.Connection) -> None:
        """Merge all into one final block."""
        if self._blocks:
            self._merge(connection, self._blocks, final=True)
            self._blocks.clear()

    def _merge(self, connection: sqlite3.Connection, small: list[_Small], *, final: bool) -> list[_Small]:
        """Merge some blocks and return the new one in a list; its range includes the numbers of all.

        If one is damaged, all stay as they are and the list is empty.
        """
        first, last = small[0].number, small[-1].last
        try:
            part = _contents(small) or _read(connection, first, last)
        except Damaged:
            return []
        block = pack(part, final=final)
        self._table.replace(connection, first, last, block)
        return [_Small(first, last, block.spans, len(block.data), part)]


def _contents(small: list[_Small]) -> Part | None:
    """Return the contents of some blocks, if they are known and the blocks are adjacent."""
    parts: list[Part] = []
    for number, block in enumerate(small):
        if block.content is None or (number and block.number != small[number - 1].last + 1):
            return None
        parts.append(block.content)
    return Part.joined(parts)


def _read(connection: sqlite3.Connection, first: int, last: int) -> Part:
    """Read the contents of the blocks from the database. Raises Damaged."""
    statement = "SELECT data FROM blocks WHERE number BETWEEN ? AND ? ORDER BY number"
    lines = [line for (data,) in connection.execute(statement, (first, last)).fetchall() for line in lines_of(data)]
    return Part(decode_lines(lines), lines)
