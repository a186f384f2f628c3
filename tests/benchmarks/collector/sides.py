"""The servers that are compared: their processes, what these cost, and one connection to each."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import zipkin_server

OURS, ZIPKIN = "obskit", "Zipkin"
_JAVA = ("-Xmx10g", "-XX:ActiveProcessorCount=2")
_TICKS = os.sysconf("SC_CLK_TCK")
_LIMITS = ["--max-spans", "100000000", "--max-bytes", "100G"]
_TIMEOUT = 120  # seconds


@dataclass
class Side:
    """A server that runs."""

    name: str
    pid: int
    connection: http.client.HTTPConnection

    def post(self, path: str, body: bytes, kind: str) -> None:
        """Sends a message; 202 or an error."""
        status, text = self._exchange("POST", path, body, {"Content-Type": kind})
        assert status == 202, (self.name, status, text[:200])

    def get(self, path: str) -> tuple[bytes, float]:
        """An answer, and how many seconds it took."""
        begun = time.perf_counter()
        status, body = self._exchange("GET", path)
        took = time.perf_counter() - begun
        assert status in {200, 404}, (self.name, path, status, body[:200])
        return body if status == 200 else b"", took

    def _exchange(self, *request: Any) -> tuple[int, bytes]:
        """Sends a request, again where the server has closed the connection while it was the other's turn."""
        try:
            self.connection.request(*request)
            answer = self.connection.getresponse()
        except ConnectionError:
            self.connection.close()
            self.connection.request(*request)
            answer = self.connection.getresponse()
        return answer.status, answer.read()

    def cpu(self) -> float:
        """The CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> int:
        """The bytes of memory that the process has resident."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def ours(path: Path) -> Iterator[Side]:
    """Our collector on a file."""
    command = [sys.executable, "-m", "obskit", "collector", "--port", "0", "--storage", f"sqlite:///{path}", *_LIMITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline().rpartition(":")[2])
            yield Side(OURS, process.pid, http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT))
        finally:
            process.terminate()


@contextmanager
def zipkin() -> Iterator[Side]:
    """Zipkin's server with its storage in memory, as it comes. Raises ``zipkin_server.Unavailable``."""
    with zipkin_server.started(_JAVA, MEM_MAX_SPANS="100000000") as (port, pid):
        yield Side(ZIPKIN, pid, http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT))
