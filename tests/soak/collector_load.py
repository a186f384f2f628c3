"""Two hundred connections that post without a pause, and a collector that is killed in the middle: is all there?

``make soak-collector``; a short one is in the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from obskit.collector.store.spans import SpanStore

_SPANS = 5  # of a message, and so of its trace
_CONNECTIONS = 200
_RETRY_AFTER = 0.05  # seconds
_UNLIMITED = ("--max-spans", "1000000000", "--max-bytes", "1000G")


@dataclass
class Found:
    """What a load came to."""

    accepted: list[int] = field(default_factory=list)  # the numbers of the messages that were answered 202
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0  # connections that ended amid a message
    missing: list[int] = field(default_factory=list)


def run(path: Path, seconds: float, connections: int = _CONNECTIONS) -> Found:
    """Posts for some seconds, kills the collector with SIGKILL after half of them, and looks for what it accepted."""
    found = asyncio.run(_load(path, seconds, connections))
    store = SpanStore(str(path), max_spans=10**9, max_bytes=10**12)
    found.missing = [number for number in found.accepted if len(store.trace(f"{number:016x}")) != _SPANS]
    store.close()
    return found


async def _load(path: Path, seconds: float, connections: int) -> Found:
    process, port = _start(path, 0)
    try:
        end = time.monotonic() + seconds
        found, numbers = Found(), itertools.count(1)
        clients = [asyncio.create_task(_client(port, numbers, end, found)) for _ in range(connections)]
        await asyncio.sleep(seconds / 2)
        process.kill()
        process.communicate()
        process, _ = await asyncio.to_thread(_start, path, port)
        await asyncio.gather(*clients)
    finally:
        process.kill()
        process.communicate()
    return found


def _start(path: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    """A collector that listens, and where."""
    command = [sys.executable, "-m", "obskit", "collector", "--port", str(port), "--storage", f"sqlite:///{path}"]
    process = subprocess.Popen([*command, *_UNLIMITED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(":")[2])


async def _client(port: int, numbers: itertools.count[int], end: float, found: Found) -> None:
    """One connection after another; each message is sent once, whatever becomes of it."""
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # killed, and not up again yet
            await asyncio.sleep(_RETRY_AFTER)
            continue
        try:
            while time.monotonic() < end:
                number = next(numbers)
                writer.write(_message(number))
                status = await _status(reader)
                found.statuses[status] += 1
                if status == 202:
                    found.accepted.append(number)
        except (OSError, asyncio.IncompleteReadError):
            found.broken += 1
        finally:
            writer.close()


def _message(number: int) -> bytes:
    place = {"serviceName": f"service-{number % 20}"}
    spans = [
        {"traceId": f"{number:016x}", "id": f"{n + 1:016x}", "name": "get", "timestamp": 10**15, "localEndpoint": place}
        for n in range(_SPANS)
    ]
    body = json.dumps(spans).encode()
    head = "POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return int(head.split(None, 2)[1])


def main() -> int:
    """Prints what came of it; 1 when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder) / "spans.db", minutes * 60)
    print(f"{len(found.accepted)} messages of {_SPANS} spans accepted, {found.broken} connections broken by the kill")
    print(f"answers by status: {dict(found.statuses)}; accepted and missing: {len(found.missing)}")
    return int(bool(found.missing))


if __name__ == "__main__":
    sys.exit(main())
