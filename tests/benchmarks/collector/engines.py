"""Our store beside DuckDB with a row for each span: what writing and some questions cost. Figures are in RATIONALE.md.

``pip install duckdb pyarrow``, then ``python -m tests.benchmarks.collector.engines --spans 200000``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from obskit.collector.deadline import Deadline
from obskit.collector.query import parse_query
from obskit.collector.store.blocks import low_id
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.json_v2 import encode_span
from obskit.zipkin.model import Span
from tests.benchmarks.collector.traffic import RARE, Traffic

_SCHEMA = """
    CREATE TABLE spans (trace BIGINT, service VARCHAR, name VARCHAR, started BIGINT, duration BIGINT,
    tags MAP(VARCHAR, VARCHAR), json BLOB)
"""
_FIRST_TEN = "SELECT trace FROM spans WHERE {} GROUP BY trace ORDER BY max(started) DESC LIMIT 10"
_Ask = Callable[[], int]


class _Sqlite:
    """The store as the collector uses it."""

    name = "SQLite, blocks"

    def __init__(self, folder: Path, traffic: Traffic) -> None:
        self.path = folder / "sqlite.db"
        self._store = SpanStore(str(self.path), max_spans=10**9, max_bytes=10**12)
        self._traffic = traffic

    def write(self, messages: Iterable[list[Span]]) -> None:
        for message in messages:
            self._store.add(message, [encode_span(span) for span in message])

    def questions(self) -> dict[str, _Ask]:
        ends = {"endTs": str(self._traffic.end // 1000 + 1), "lookback": "3600000"}

        def search(**params: str) -> _Ask:
            return lambda: len(list(self._store.search(parse_query({**ends, **params}), Deadline(60))))

        trace = self._traffic.trace_id(self._traffic.traces // 3)
        return {
            "by id": lambda: len(self._store.trace(trace)),
            "service and name": search(serviceName="cart", spanName="get /items/3"),
            "a rare tag": search(annotationQuery="=".join(RARE)),
        }


class _Duck:
    """A column for what is asked, and the JSON of each span; one INSERT for each message, from Arrow."""

    name = "DuckDB, rows"

    def __init__(self, folder: Path, traffic: Traffic) -> None:
        import duckdb

        self.path = folder / "duck.db"
        self._connection: Any = duckdb.connect(str(self.path))
        self._connection.execute("SET threads = 1")
        self._connection.execute(_SCHEMA)
        self._traffic = traffic

    def write(self, messages: Iterable[list[Span]]) -> None:
        import pyarrow as pa

        text = pa.string()
        kinds = [pa.int64(), text, text, pa.int64(), pa.int64(), pa.map_(text, text), pa.binary()]
        for message in messages:
            columns = zip(*map(_row, message), strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            batch = pa.Table.from_arrays(arrays, ["trace", "service", "name", "started", "duration", "tags", "json"])
            self._connection.register("batch", batch)
            self._connection.execute("INSERT INTO spans SELECT * FROM batch")
            self._connection.unregister("batch")

    def finish(self) -> None:
        """Moves what is in its journal to its file."""
        self._connection.execute("CHECKPOINT")

    def questions(self) -> dict[str, _Ask]:
        def ask(condition: str) -> _Ask:
            whole = f"SELECT json FROM spans WHERE trace IN ({_FIRST_TEN.format(condition)})"
            return lambda: len(self._connection.execute(whole).fetchall())

        trace = low_id(self._traffic.trace_id(self._traffic.traces // 3))
        one = f"SELECT json FROM spans WHERE trace = {trace}"
        return {
            "by id": lambda: len(self._connection.execute(one).fetchall()),
            "service and name": ask("service = 'cart' AND name = 'get /items/3'"),
            "a rare tag": ask(f"tags['{RARE[0]}'] = '{RARE[1]}'"),
        }


def _row(span: Span) -> tuple[object, ...]:
    service = span.local_endpoint.service_name if span.local_endpoint else None
    tags = list(span.tags.items())
    return low_id(span.trace_id), service, span.name, span.timestamp, span.duration, tags, encode_span(span)


def main() -> None:
    """Prints the figures of each, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=200_000)
    spans = parser.parse_args().spans
    with tempfile.TemporaryDirectory() as folder:
        traffic = Traffic(spans)
        engines = _Sqlite(Path(folder), traffic), _Duck(Path(folder), traffic)
        spent = dict.fromkeys((engine.name for engine in engines), 0.0)
        for message in traffic.messages():
            for engine in engines:
                begun = time.process_time()
                engine.write([message])
                spent[engine.name] += time.process_time() - begun
        for engine in engines:
            size = os.path.getsize(engine.path) / traffic.traces / 7
            print(
                f"{engine.name}: {spent[engine.name] / traffic.traces / 7 * 1e6:.0f} µs of CPU a span, {size:.0f} bytes"
            )
        for what in engines[0].questions():
            print(f"{what}: " + ", ".join(_timed(engine, what) for engine in engines))


def _timed(engine: _Sqlite | _Duck, what: str) -> str:
    ask = engine.questions()[what]
    times = []
    for _ in range(15):
        begun = time.process_time()
        found = ask()
        times.append(time.process_time() - begun)
    return f"{engine.name} {sorted(times)[7] * 1000:.1f} ms ({found})"


if __name__ == "__main__":
    main()
