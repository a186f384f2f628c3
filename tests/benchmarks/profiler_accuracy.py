"""How near profiles come to what a program does, ours and py-spy's, of the same run of the same program.

``python tests/benchmarks/profiler_accuracy.py``; py-spy (``pip install py-spy``) is left out where it is missing.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SECONDS = 12
HEAD = """
import sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: sum(range(50))
end = time.monotonic() + float(sys.argv[1])
"""
PROGRAMS = {
    "CPU 70/20/10, by turns of 7, 2 and 1 ms": (
        "cpu",
        {"seventy": 70.0, "twenty": 20.0, "ten": 10.0},
        """
def seventy(): burn(.007)
def twenty(): burn(.002)
def ten(): burn(.001)
while time.monotonic() < end: seventy(); twenty(); ten()
""",
    ),
    "CPU: computing 3 ms, then waiting 7 ms": (
        "cpu",
        {"compute": 100.0, "wait": 0.0},
        """
def compute(): burn(.003)
def wait(): time.sleep(.007)
while time.monotonic() < end: compute(); wait()
""",
    ),
    "CPU: three threads, 60/30/10": (
        "cpu",
        {"sixty": 60.0, "thirty": 30.0, "ten": 10.0},
        """
def sixty(): burn(.006)
def thirty(): burn(.003)
def ten(): burn(.001)
def loop(work):
    for _ in range(250): work(); time.sleep(.03)
threads = [threading.Thread(target=loop, args=(work,)) for work in (sixty, thirty, ten)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
    ),
}
OURS = """
import atexit, os, time
import obskit
obskit.init(exporter="none", logs="off", service="x", profiler_output=os.environ["FOLDER"],
    profiler_duration=600, profiler_interval=600)
while obskit.stats()["profiler"]["state"] != "sampling": time.sleep(.01)
"""


def run(program: str, folder: Path) -> None:
    """Run a program under our profiler, with py-spy watching."""
    (folder / "program.py").write_text(OURS + HEAD + program)
    environment = {**os.environ, "FOLDER": str(folder)}
    with subprocess.Popen([sys.executable, "program.py", str(SECONDS)], cwd=folder, env=environment) as process:
        spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if spy:
            command = [spy, "record", "-p", str(process.pid), "-d", str(SECONDS - 2), "-f", "raw", "-o", "spy.txt"]
            subprocess.run(command, cwd=folder, capture_output=True, check=False)


def shares(stacks: list[tuple[list[str], int]], names: dict[str, float]) -> dict[str, float]:
    """Return the percentage of each function of ``names``."""
    found: Counter[str] = Counter(dict.fromkeys(names, 0))
    for functions, value in stacks:
        name = next((name for name in names if name in functions), None)
        if name:
            found[name] += value
    total = sum(found.values()) or 1
    return {name: 100 * value / total for name, value in found.items()}


def ours(folder: Path, kind: str) -> list[tuple[list[str], int]]:
    from obskit.base.pprof import decode

    [file] = folder.glob(f"x-{kind}-*.pprof.gz")
    profile = decode(gzip.decompress(file.read_bytes()))
    return [([line.function for line in sample.stack], sample.values[-1]) for sample in profile.samples]


def spied(folder: Path) -> list[tuple[list[str], int]]:
    file = folder / "spy.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    parsed = (line.rpartition(" ") for line in lines)
    return [([frame.partition(" ")[0] for frame in stack.split(";")], int(count)) for stack, _, count in parsed]


def main() -> None:
    """Print what is true, what we say and what py-spy says, in percent."""
    for title, (kind, truth, program) in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(program, folder)
            found = {"obskit": shares(ours(folder, kind), truth), "py-spy": shares(spied(folder), truth)}
        print(title)
        for who, row in {"true": truth, **found}.items():
            off = max(abs(row[name] - truth[name]) for name in truth)
            print(f"  {who:7}" + "".join(f"{name} {row[name]:5.1f}  " for name in truth) + f"(off by {off:.1f})")


if __name__ == "__main__":
    main()
