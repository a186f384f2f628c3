"""Which blocks hold a text, for some hundred blocks together: a search for a rare text reads one row for all of them.

The filter of a block answers for that block alone, and to ask ten million spans would be to read thirty thousand
filters. Here the tokens (see ``filters``) of a group of blocks are sorted and cut into rows by their first bits. A row
has 16 more bits of each token and where in the group its block is; what seems to match is checked in its filter.

A number in a group stands for the block that holds that number now, as everywhere: merging changes nothing here.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from obskit.collector.store.database import Database
from obskit.collector.store.filters import tokens_in

_MOST_BLOCKS = 256  # of a group: a place in it is one byte
_ENOUGH = 100_000  # tokens: writing a group takes some 30 ms
_LOOK_EVERY = 64  # numbers of blocks between two looks at whether there is enough for a group
_ROWS = 128  # of a group: a row of 800 tokens takes 2.4 kB, and fits into a page
_TOKEN_BITS, _PLACE_BITS, _KEPT_BITS = 32, 8, 16
_PER_TOKEN = 3  # bytes
_ROW_SHIFT = _TOKEN_BITS - _ROWS.bit_length() + 1  # what follows the bits that choose the row
_KEPT_SHIFT = _ROW_SHIFT - _KEPT_BITS
_LATEST = 2**63 - 1  # stands for the times of a block without any, which is in every window
_BEHIND = """
    SELECT number, last, first, newest, filter FROM blocks
    WHERE number >= coalesce((SELECT max(number) FROM blocks WHERE number <= ?1), 0) AND last > ?1 AND number < ?2
    ORDER BY number LIMIT ?3
"""
_LOOK_UP = """
    SELECT numbers, unknown, data FROM text_groups JOIN text_rows ON id = last * ? + ?
    WHERE last <= ? AND newest >= ? AND oldest <= ?
"""
_Block = tuple[int, int, int, int, bytes]  # number, last, oldest and newest timestamp, filter


class TextIndex:
    """The index of a database. Any thread may read; changes are made within transactions of the writer's.

    ``reload`` when one was rolled back.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.covered = 0  # the number of the last block in a group
        self._looked = 0

    def reload(self) -> None:
        """Read how far the database's index goes."""
        ((self.covered,),) = self._database.rows("SELECT coalesce(max(last), 0) FROM text_groups")
        self._looked = self.covered

    def write(self, connection: sqlite3.Connection, last: int, end: int) -> None:
        """Write a group, if there is enough for one. ``last`` is the last block; from ``end`` on they will change."""
        if last - self._looked < _LOOK_EVERY:
            return
        blocks: list[_Block] = []
        tokens = 0
        for block in connection.execute(_BEHIND, (self.covered, end, _MOST_BLOCKS)):
            blocks.append(block)
            tokens += len(tokens_in(block[4]) or ())
            if tokens >= _ENOUGH or len(blocks) == _MOST_BLOCKS:
                self._write(connection, blocks)
                return
        self._looked = last

    def numbers(self, token: int, first: int, last: int, covered: int) -> set[int]:
        """Return the numbers of blocks up to ``covered`` that may hold a token, with a span between two times."""
        row, kept = token >> _ROW_SHIFT, token >> _KEPT_SHIFT & (1 << _KEPT_BITS) - 1
        found: set[int] = set()
        for numbers, unknown, data in self._database.rows(_LOOK_UP, _ROWS, row, covered, first, last):
            count = len(data) // _PER_TOKEN
            tokens = memoryview(data)[: 2 * count].cast("H")
            begin = bisect_left(tokens, kept)
            if unknown or (begin < count and tokens[begin] == kept):
                end = bisect_right(tokens, kept, begin)
                of_group = memoryview(numbers).cast("q")
                found.update(of_group[place] for place in unknown + data[2 * count :][begin:end])
        return found

    def _write(self, connection: sqlite3.Connection, blocks: list[_Block]) -> None:
        pairs: list[int] = []
        unknown = bytearray()
        for place, block in enumerate(blocks):
            tokens = tokens_in(block[4])
            if tokens is None:  # of an older release, or damaged
                unknown.append(place)
            else:
                pairs += [token << _PLACE_BITS | place for token in tokens]
        pairs.sort()
        self.covered = last = blocks[-1][1]
        times = (min(block[2] for block in blocks), max(block[3] or _LATEST for block in blocks))
        numbers = array("q", [block[0] for block in blocks]).tobytes()
        connection.execute("INSERT INTO text_groups VALUES (?, ?, ?, ?, ?)", (last, *times, numbers, bytes(unknown)))
        rows = [(last * _ROWS + row, _packed(its)) for row, its in enumerate(_rows(pairs))]
        connection.executemany("INSERT INTO text_rows VALUES (?, ?)", rows)
        _delete_old(connection)
        if _outdated(connection):
            connection.execute("DELETE FROM text_groups")
            connection.execute("DELETE FROM text_rows")
            self.covered = self._looked = 0


def _rows(pairs: list[int]) -> Iterable[list[int]]:
    begin = 0
    for row in range(_ROWS):
        end = bisect_left(pairs, row + 1 << _ROW_SHIFT + _PLACE_BITS, begin)
        yield pairs[begin:end]
        begin = end


def _packed(pairs: list[int]) -> bytes:
    """Return part of each token, then the place of each."""
    mask = (1 << _KEPT_BITS) - 1
    kept = array("H", [pair >> _KEPT_SHIFT + _PLACE_BITS & mask for pair in pairs])
    return kept.tobytes() + bytes([pair & 0xFF for pair in pairs])


def _delete_old(connection: sqlite3.Connection) -> None:
    """Delete the groups of which no block is stored any more."""
    oldest = "SELECT coalesce(min(number), 0) FROM blocks"
    connection.execute(f"DELETE FROM text_rows WHERE id < ({oldest}) * ?", (_ROWS,))
    connection.execute(f"DELETE FROM text_groups WHERE last < ({oldest})")


def _outdated(connection: sqlite3.Connection) -> bool:
    """Return whether most blocks in groups are gone, though a few old ones stay: then the index is built anew."""
    (indexed,) = connection.execute("SELECT sum(length(numbers)) / 8 FROM text_groups").fetchone()
    (stored,) = connection.execute("SELECT count(*) FROM blocks").fetchone()
    return bool(indexed > 4 * (stored + _MOST_BLOCKS))
