"""Counts the instructions of a measurement's blocks with callgrind, of valgrind."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import environment

_WORKER = Path(__file__).parent / "count_worker.py"
_SUMMARY = re.compile(r"^summary: (\d+)", re.MULTILINE)

Counts = dict[str, int]
"""Instructions per operation, by side."""


def missing() -> list[str]:
    """Return which of valgrind's commands this machine lacks."""
    return [command for command in ("valgrind", "vgdb") if shutil.which(command) is None]


def count(module: str, variants: Sequence[str], url: str, seed: int) -> dict[str, Counts]:
    """Return by variant what each side's operation takes, in the thread that does the work, once the code is warm.

    The least of some blocks: in the first one CPython may still specialise the code for what this side brings.
    ``seed`` is that of hashes.
    """
    found: dict[str, Counts] = {variant: {} for variant in variants}
    with tempfile.TemporaryDirectory() as folder:
        dumps = Path(folder) / "dump"
        blocks, operations = _run(dumps, seed, module, url, *variants)
        for number, (variant, side) in enumerate(blocks, start=1):
            summary = _SUMMARY.search(Path(f"{dumps}.{number}-01").read_text())
            assert summary is not None
            counted = int(summary[1]) // operations
            found[variant][side] = min(counted, found[variant].get(side, counted))
    return found


def _run(dumps: Path, seed: int, *measurement: str) -> tuple[list[tuple[str, str]], int]:
    """Run the worker, which leaves a dump for each of its blocks; return these in their order, and their operations.

    Its start is not counted: uncounted code runs five times as fast.
    """
    command = [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes",
        "--zero-before=ffi_call", "--dump-after=ffi_call", f"--callgrind-out-file={dumps}",
        environment.PYTHON, _WORKER, *measurement,
    ]  # fmt: skip
    variables = {**environment.variables(), "PYTHONHASHSEED": str(seed)}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables
        ) as worker,
    ):
        assert worker.stdin is not None
        assert worker.stdout is not None
        if worker.stdout.readline():  # it is warm
            switch = ["vgdb", f"--pid={worker.pid}", "instrumentation on"]
            subprocess.run(switch, check=True, capture_output=True)
        output, _ = worker.communicate("go\n")
        if worker.returncode:
            errors.seek(0)
            raise SystemExit(f"{measurement} failed:\n{errors.read()}")
    blocks, operations = json.loads(output)
    return blocks, operations
