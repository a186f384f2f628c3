"""What tests of the spool look at on disk, and disks that refuse."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from obskit.export.spool.segment import Record
from obskit.export.spool.spool import Spool
from tests.export.receiver import FORK, ROOT, clean_environ

START = """
import os, sys, time, logging
from pathlib import Path
from obskit.export.spool.spool import Spool
logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
def read(spool):
    found = []
    while record := spool.next():
        assert spool.acknowledge(record)
        found.append(record.items)
    return found
"""


def new_spool(folder: Path, max_bytes: int = 1 << 24, max_age: float = 3600.0, **options: bool) -> Spool:
    return Spool(folder / "spool", "http://zipkin:9411/api/v2/spans", max_bytes, max_age, **options)


def crash(spool: Spool) -> None:
    """Have the spool end as the kernel ends it with its process: all files are closed, and nothing else happens."""
    spool.after_fork()


def read(spool: Spool) -> list[list[bytes]]:
    """Read all that waits, acknowledging it."""
    return [record.items for record in iter(lambda: _settled(spool), None)]


def _settled(spool: Spool) -> Record | None:
    record = spool.next()
    assert record is None or spool.acknowledge(record)
    return record


def place(folder: Path) -> Path:
    """Return the folder of the one destination in it."""
    [found] = (folder / "spool").iterdir()
    return found


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "spool").glob("*/*/*.seg"), key=lambda path: path.name)


def taken(folder: Path) -> int:
    """Return the bytes in all segments."""
    return sum(path.stat().st_size for path in segments(folder))


def python(code: str, *arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program after START, with ``before`` run by a shell in front of it, in mount namespaces of its own."""
    command = [sys.executable, "-W", "error", "-W", FORK, "-c", START + code, *map(str, arguments)]
    if before:
        command = ["unshare", "-rnm", "sh", "-c", f'set -e; {before}; exec "$@"', "sh", *command]
    environ = clean_environ(PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)


@functools.cache
def _may_mount() -> bool:
    try:
        command = ["unshare", "-rnm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except FileNotFoundError:
        return False


def needs_mounts() -> None:
    if not _may_mount():
        pytest.skip("this machine does not let its users mount a disk in a namespace of their own")
