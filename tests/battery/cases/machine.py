"""The machine: its resolver, its clock, its memory."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.battery.backend import backend, hanging
from tests.battery.lab import Lab
from tests.battery.registry import Skipped, case
from tests.battery.tools import need_namespaces, shell

_CLOCK = Path(__file__).parent.parent / "clock.c"
_MOST_GROWTH = 100  # MB


@case(21, "dns", "the resolver never answers (own network, a silent UDP socket)", "the exit takes its 2 s at most")
def silent_resolver(lab: Lab) -> str:
    need_namespaces()
    resolver = lab.folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    prefix = shell(f'ip link set lo up; mount --bind {resolver} "$(realpath /etc/resolv.conf)"', "-rnm")
    run = lab.compare("silent_resolver", "http://zipkin.example:9411", prefix=prefix, OBSKIT_EXIT_TIMEOUT="")
    assert run.notes["took"] <= lab.within(0.6), f"flush(0.5) took {run.notes['took']:.2f} s"
    assert run.exit_seconds <= lab.within(2.5), f"the exit took {run.exit_seconds:.2f} s"
    lab.settled(run, None, 5, 0)
    return f"flush(0.5) took {run.notes['took']:.2f} s, exit {run.code} in {run.exit_seconds:.2f} s"


@case(23, "clock-back", "the wall clock steps back 1000 s in the middle of a span", "no negative duration", peers=True)
def clock_steps_back(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("clock_back", server.url, LD_PRELOAD=_clock_library(lab))
        assert -1001 < run.notes["stepped"] < -998, f"the clock moved by {run.notes['stepped']}"
        figure = lab.settled(run, server, 3)
        spans = [span for request in server.taken for span in request.spans]
        durations = {span["name"]: span.get("duration", 0) / 1000 for span in spans}
        assert all(10 <= duration < 5000 for duration in durations.values()), f"durations in ms: {durations}"
        starts = [span["timestamp"] for span in spans]
        assert max(starts) - min(starts) < 5_000_000, "spans of one trace lie 1000 s apart"
        return f"{figure}, longest duration {max(durations.values()):.0f} ms"


def _clock_library(lab: Lab) -> str:
    """Compile what stands in for the clock: the machine's own is not for a test to turn."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Skipped("needs a C compiler")
    library = str(lab.folder / "clock.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _CLOCK], check=True, capture_output=True)
    return library


@case(
    41,
    "bytes",
    "the receiver hangs; 20 000 spans of 1 MB",
    f"memory grows by {_MOST_GROWTH} MB at most",
    quick=False,
    peers=True,
)
def many_bytes(lab: Lab) -> str:
    count = 20_000
    with hanging() as server:
        run = lab.compare("many_bytes", server.url, count, timeout=240, OBSKIT_EXIT_TIMEOUT="0.5")
        grown = run.notes["grown"]
        assert grown <= _MOST_GROWTH, f"memory grew by {grown:.0f} MB"
        lab.settled(run, server, count + 1, 0)
        return f"memory grew by {grown:.0f} MB at most for {count} MB of spans"
