"""The reference: a Zipkin server in memory, from Maven Central, on a free port."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

VERSION = "3.6.1"
CACHE = Path(__file__).parents[1] / ".cache" / "zipkin"
_JAR = CACHE / f"zipkin-server-{VERSION}-exec.jar"
_FETCH_TIMEOUT = 600  # seconds; 132 MB
_START_TIMEOUT = 90
_SMALL = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # up sooner, and slower when there is much to do


class Unavailable(Exception):
    """Why there is no Zipkin server here."""


def fetch() -> Path:
    """The server's jar, downloaded once into ``.cache``. Raises Unavailable without Java, Maven or network."""
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            raise Unavailable(f"{tool} is not installed")
    if not _JAR.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Into a folder of its own first: an interrupted download must not look like a jar.
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _download(Path(folder))
            (Path(folder) / _JAR.name).replace(_JAR)
    return _JAR


def _download(folder: Path) -> None:
    artifact = f"io.zipkin:zipkin-server:{VERSION}:jar:exec"
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}"]
    command += [f"-DoutputDirectory={folder}", "-Dmdep.useBaseVersion=true"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable("Maven did not download the Zipkin server in time") from None
    if done.returncode:
        raise Unavailable(f"Maven did not download the Zipkin server: {done.stdout.strip()[-200:]}")


@contextmanager
def running(**environ: str) -> Iterator[int]:
    """The port of a server which is up, in memory unless ``environ`` says otherwise. Raises Unavailable."""
    with started(_SMALL, **environ) as (port, _):
        yield port


@contextmanager
def started(options: Sequence[str], **environ: str) -> Iterator[tuple[int, int]]:
    """The port and process id of a server whose Java machine has ``options``. Raises Unavailable."""
    jar = fetch()
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["java", *options, "-jar", str(jar)],
            env={**os.environ, "QUERY_PORT": str(port), "COLLECTOR_GRPC_ENABLED": "true", **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_health(process, port)
            yield port, process.pid
        finally:
            process.kill()  # it has nothing to save
            process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _await_health(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the Zipkin server ended with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError(f"the Zipkin server was not healthy within {_START_TIMEOUT} s")
