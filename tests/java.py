"""Servers written in Java: their jars from Maven Central, kept below ``.cache``, and their processes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.zipkin_server import Unavailable

CACHE = Path(__file__).parents[1] / ".cache"
SMALL = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:ActiveProcessorCount=2")  # quick to start, little memory
_FETCH_TIMEOUT = 600  # seconds


def jars(name: str, *artifacts: str) -> Path:
    """The folder with ``artifacts`` (``group:artifact:version``) and all they need, downloaded once.

    Raises Unavailable without Java, Maven or network.
    """
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            raise Unavailable(f"{tool} is not installed")
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        # Into a folder of its own first: an interrupted download must not look complete.
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            _download(Path(temporary), artifacts)
            (Path(temporary) / "jars").rename(folder)
    return folder


def _download(folder: Path, artifacts: tuple[str, ...]) -> None:
    (folder / "pom.xml").write_text(_pom(artifacts))
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Maven did not download {artifacts[0]} in time") from None
    if done.returncode:
        raise Unavailable(f"Maven did not download {artifacts[0]}: {done.stdout.strip()[-200:]}")


def _pom(artifacts: tuple[str, ...]) -> str:
    parts = [artifact.split(":") for artifact in artifacts]
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in parts
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>obskit</groupId><artifactId>test-server</artifactId>"
        f"<version>1</version><dependencies>{dependencies}</dependencies></project>"
    )


@contextmanager
def process(command: list[str], ready: Callable[[], Any], seconds: float, **options: Any) -> Iterator[Any]:
    """A process that is ``ready`` within ``seconds``; ended by SIGTERM, with time to write what it holds."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
        try:
            _wait(started, ready, time.monotonic() + seconds, log)
            yield started
        finally:
            started.terminate()
            try:
                started.wait(30)
            finally:
                started.kill()
                started.wait()


def _wait(started: subprocess.Popen[bytes], ready: Callable[[], Any], deadline: float, log: IO[bytes]) -> None:
    while not ready():
        if started.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            text = log.read().decode("utf-8", "replace")
            raise RuntimeError(f"{started.args} is not ready (status {started.poll()}):\n{text[-2000:]}")
        time.sleep(0.05)
