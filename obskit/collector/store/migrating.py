"""Migrates spans from older versions of the schema, within the caller's transaction."""

from __future__ import annotations

import sqlite3

from obskit.collector.store.block_table import BlockTable
from obskit.collector.store.blocks import Damaged, Part, decode_lines, lines_of, pack, service_id, slices
from obskit.collector.store.names import Names
from obskit.collector.store.trace_index import TraceIndex
from obskit.zipkin.model import Span

_AT_ONCE = 1_000  # spans


def migrate(connection: sqlite3.Connection, version: int, table: BlockTable, index: TraceIndex, names: Names) -> None:
    """Move the spans of version 1, which had a row each; or count those of version 2 by service."""
    if version == 1:
        _move_spans(connection, table, names)
        index.write_all(connection)
    elif version == 2:
        _count_services(connection, table, names)


def _move_spans(connection: sqlite3.Connection, table: BlockTable, names: Names) -> None:
    rows = connection.execute("SELECT json FROM spans ORDER BY number")
    while some := rows.fetchmany(_AT_ONCE):
        lines = [line for (line,) in some]
        spans = decode_lines(lines)
        for cut in slices(lines):
            part = Part(spans[cut], lines[cut])
            number = table.insert(connection, pack(part, final=True))
            names.note(connection, part, number)
    connection.execute("DROP TABLE spans")
    table.write_totals(connection)


def _count_services(connection: sqlite3.Connection, table: BlockTable, names: Names) -> None:
    for number, count, size, data in connection.execute("SELECT number, spans, size, data FROM blocks"):
        lines, spans = _read(data)
        part = Part(spans, lines)
        table.hold(connection, number, part.services or {service_id(None): (count, size)})
        names.note(connection, part, number)


def _read(data: bytes) -> tuple[list[bytes], list[Span]]:
    """Return the spans of a block; an empty list if it is damaged."""
    try:
        lines = lines_of(data)
        return lines, decode_lines(lines)
    except Damaged:
        return [], []
