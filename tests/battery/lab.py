"""Runs a program without a library and with one, and compares: output, exit status, ledger and what really arrived."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.battery.backend import Backend

ROOT = Path(__file__).parents[2]
SIDES = Path(__file__).parent / "sides"
PROGRAMS = Path(__file__).parent / "programs"
PLAIN = "with_nothing"
OBSKIT = "with_obskit"
_PREFIXES = ("OBSKIT_", "OTEL_", "SENTRY_", "DD_", "ELASTIC_", "PYTHON")
# CPython 3.12 and newer warn of any fork in a process with threads, if it is the program's own.
_WARNINGS = ("-W", "ignore::DeprecationWarning")


def eventually(condition: Callable[[], Any], seconds: float = 10.0, what: str = "") -> Any:
    """Wait until ``condition`` is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what or 'it'} did not happen within {seconds} s"
        time.sleep(0.005)
    return found


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Run(NamedTuple):
    """A program that has ended. ``log`` is what the library logged, ``ledgers`` the counters of its processes."""

    code: int
    out: str
    err: str
    ended: float
    notes: dict[str, Any]
    log: str
    ledgers: list[dict[str, Any]]

    @property
    def exit_seconds(self) -> float:
        """How long the process lived after the program had said ``ending()``."""
        return self.ended - float(self.notes["ending"])

    def total(self, counter: str) -> int:
        """The sum of a counter over processes and exporters; ``dropped`` over its reasons."""
        values = [one.get(counter, 0) for ledger in self.ledgers for one in ledger["exporters"]]
        return sum(sum(value.values()) if isinstance(value, dict) else value for value in values)

    @property
    def sampled_out(self) -> int:
        """How many traces were not recorded."""
        limited = sum(sum(ledger["sampling"]["limited"].values()) for ledger in self.ledgers)
        return limited + sum(int(ledger["sampled_out"]) for ledger in self.ledgers)

    @property
    def dropped(self) -> dict[str, int]:
        """How many spans were dropped, by reason."""
        found: dict[str, int] = {}
        for one in (one for ledger in self.ledgers for one in ledger["exporters"]):
            for reason, count in one["dropped"].items():
                found[reason] = found.get(reason, 0) + count
        return found


class Process:
    """A program that runs."""

    def __init__(self, popen: subprocess.Popen[str], folder: Path) -> None:
        self.popen = popen
        self.pid = popen.pid
        self._folder = folder

    def line(self, timeout: float = 90.0) -> str:
        """Return the next line of its output; it is killed, and the line empty, where none comes in time."""
        assert self.popen.stdout is not None
        watch = threading.Timer(timeout, os.killpg, [self.pid, signal.SIGKILL])
        watch.start()
        try:
            return self.popen.stdout.readline().rstrip("\n")
        finally:
            watch.cancel()

    def tell(self, text: str) -> None:
        """Write a line to its standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(text + "\n")
        self.popen.stdin.flush()

    def finish(self, timeout: float = 60.0) -> Run:
        """Wait for its end."""
        try:
            out, err = self.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the program had not ended after {timeout:.0f} s") from None
        return Run(self.popen.returncode, out, err, time.monotonic(), *self._left())

    def kill(self) -> None:
        """End it, and what it started."""
        if self.popen.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.communicate()

    def _left(self) -> tuple[dict[str, Any], str, list[dict[str, Any]]]:
        notes: dict[str, Any] = {}
        for line in _text(self._folder / "notes").splitlines():
            notes.update(json.loads(line))
        ledgers = [json.loads(file.read_text()) for file in self._folder.glob("ledger-*.json")]
        return notes, _text(self._folder / "log"), ledgers


class Lab:
    """Where one case runs one library. ``thorough`` is false where a case is to take little time."""

    def __init__(self, folder: Path, side: str = OBSKIT, python: str = sys.executable, thorough: bool = True) -> None:
        self.folder = folder
        self.side = side
        self.python = python
        self.thorough = thorough
        self._runs = 0

    @property
    def is_obskit(self) -> bool:
        return self.side == OBSKIT

    def within(self, seconds: float) -> float:
        """Return what a deadline may take here: a little more where other tests run at the same time."""
        return seconds if self.thorough else seconds + 1.0

    @contextmanager
    def start(
        self,
        program: str,
        url: str = "none",
        *args: object,
        side: str = "",
        prefix: tuple[str, ...] = (),
        **environ: str,
    ) -> Iterator[Process]:
        """Run a program of the folder ``programs`` with the library; ``prefix`` is a command to run it by."""
        command = [*prefix, self.python, *_WARNINGS, str(PROGRAMS / f"{program}.py"), *map(str, args)]
        with self.start_command(command, url, side, **environ) as process:
            yield process

    @contextmanager
    def start_command(self, command: list[str], url: str, side: str = "", **environ: str) -> Iterator[Process]:
        """Run any command with the environment of a program."""
        self._runs += 1
        folder = self.folder / f"run{self._runs}"
        folder.mkdir(parents=True)
        environment = self.environ(folder, url, side or self.side, **environ)
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        popen = subprocess.Popen(command, env=environment, cwd=self.folder, text=True, start_new_session=True, **pipes)
        process = Process(popen, folder)
        try:
            yield process
        finally:
            process.kill()

    def environ(self, folder: Path, url: str, side: str, **more: str) -> dict[str, str]:
        """Return the environment of a program: nothing of the caller's that would configure a library."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_PREFIXES)}
        # The exit's patience is that of a busy machine, but for the cases that are about it.
        ours = {"OBSKIT_EXPORTER": url, "OBSKIT_LOGS": "off", "OBSKIT_INTEGRATIONS": ",", "OBSKIT_EXIT_TIMEOUT": "20"}
        battery = {"BATTERY_FOLDER": str(folder), "BATTERY_SIDE": side, "BATTERY_URL": url}
        paths = os.pathsep.join([str(SIDES), str(ROOT)])
        return {**kept, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **ours, **battery, **more}

    def run(
        self,
        program: str,
        url: str = "none",
        *args: object,
        timeout: float = 60.0,
        side: str = "",
        prefix: tuple[str, ...] = (),
        **environ: str,
    ) -> Run:
        """Run a program to its end with the library, or with ``side``."""
        with self.start(program, url, *args, side=side, prefix=prefix, **environ) as process:
            return process.finish(timeout)

    def compare(
        self,
        program: str,
        url: str,
        *args: object,
        timeout: float = 60.0,
        prefix: tuple[str, ...] = (),
        **environ: str,
    ) -> Run:
        """Run a program without the library and with it: output, errors and exit status must be the same."""
        plain = self.run(program, "none", *args, timeout=timeout, side=PLAIN, prefix=prefix, **environ)
        traced = self.run(program, url, *args, timeout=timeout, prefix=prefix, **environ)
        same_outcome(plain, traced)
        return traced

    def settled(self, run: Run, backend: Backend | None, produced: int, delivered: int | None = None) -> str:
        """Check that every span is accounted for and that what the ledger says arrived did; return the figure.

        ``delivered`` is how many must have arrived, by default all; -1 leaves it open.
        """
        arrived = len(backend.names) if backend is not None else 0
        wanted = produced if delivered is None else delivered
        if self.is_obskit:
            balanced(run)
            made = run.total("produced") + run.sampled_out
            said = run.total("delivered")
            assert made == produced, f"{made} spans in the ledger, with those not sampled, instead of {produced}"
            assert said == arrived, f"the ledger has {said} delivered, {arrived} came"
        assert wanted in (-1, arrived), f"delivered {arrived} of {produced}, not {wanted}{_reasons(run)}"
        return f"delivered {arrived}/{produced}{_reasons(run)}, exit {run.code}"


def same_outcome(plain: Run, traced: Run) -> None:
    """Check that a program did with the library what it does without."""
    changed = f"exit {traced.code} instead of {plain.code}{_tail(traced.err)}"
    assert plain.code == traced.code, changed
    assert plain.out == traced.out, f"output differs: {traced.out[-200:]!r} instead of {plain.out[-200:]!r}"
    assert plain.err == traced.err, f"standard error differs{_tail(traced.err)}"


def balanced(run: Run) -> None:
    """Check each ledger: produced = delivered + dropped + spooled + queued."""
    assert run.ledgers, f"no ledger was written{_tail(run.err)}"
    for one in (one for ledger in run.ledgers for one in ledger["exporters"]):
        parts = one["delivered"] + sum(one["dropped"].values()) + one.get("spooled", 0) + one["queued"]
        assert one["produced"] == parts, f"the ledger does not balance: {one}"


def _tail(err: str) -> str:
    return f": {err.strip().splitlines()[-1][-300:]}" if err.strip() else ""


def _reasons(run: Run) -> str:
    return "".join(f", dropped {count} {reason}" for reason, count in sorted(run.dropped.items()))


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@contextmanager
def lab(side: str = OBSKIT, python: str = sys.executable, thorough: bool = True) -> Iterator[Lab]:
    """Give a lab with a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="battery-"))
    try:
        yield Lab(folder, side, python, thorough)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
