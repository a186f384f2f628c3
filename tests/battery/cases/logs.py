"""What is logged, where writing it fails or feeds on itself."""

from __future__ import annotations

import json
import time

from tests.battery.backend import backend
from tests.battery.lab import PLAIN, Lab, Process, Run, eventually, free_port
from tests.battery.registry import case


@case(33, "stdout-block", "standard output: its pipe is full, or its reader is gone", "slowed or counted; no traceback")
def blocked_output(lab: Lab) -> str:
    return f"pipe full: {_read_late(lab)}; reader gone: {_reader_gone(lab)}"


def _read_late(lab: Lab) -> str:
    """Let the pipe be full for a while: every line arrives, and so do the spans that ended by then."""
    with backend() as server, lab.start("log_lines", server.url, 500, OBSKIT_LOGS="json") as process:
        eventually(lambda: server.names, 20, "a span delivered while standard output is blocked")
        time.sleep(0.5)
        assert process.popen.poll() is None, "the program ended although nobody read its output"
        run = process.finish()
        lines = [json.loads(line)["message"] for line in run.out.splitlines()]
        assert lines == [f"line {number}" for number in range(500)], f"{len(lines)}/500 lines"
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
        lab.settled(run, server, 500)
        return f"{len(lines)}/500 lines"


def _reader_gone(lab: Lab) -> str:
    with backend() as server:
        plain, run = (_finish_unread(lab, server.url, side) for side in (PLAIN, lab.side))
        assert run.code == plain.code, f"exit {run.code}, without the library {plain.code}: {run.err}"
        assert "Traceback" not in run.err, run.err
        assert "BrokenPipe" not in run.err, run.err
        lab.settled(run, server, 50)
        counts = run.ledgers[0]["logs"]
        assert counts["lost"] + counts["written"] == 50, counts
        return f"{counts['lost']}/50 lines counted as lost, exit {run.code}"


def _finish_unread(lab: Lab, url: str, side: str) -> Run:
    with lab.start("log_lines", url, 50, side=side, OBSKIT_LOGS="json") as process:
        _stop_reading(process)
        return process.finish()


def _stop_reading(process: Process) -> None:
    assert process.popen.stdout is not None
    process.popen.stdout.close()
    process.popen.stdout = None


@case(34, "log-loop", "delivery fails, and a root handler makes a span of each log record", "bounded, one warning")
def log_loop(lab: Lab) -> str:
    nobody = f"http://127.0.0.1:{free_port()}"
    run = lab.run("log_loop", nobody, OBSKIT_FLUSH_INTERVAL="0", OBSKIT_EXIT_TIMEOUT="0.5")
    assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
    records = run.notes["records"]
    assert len(records) == 1, f"{len(records)} records: {records[:5]}"
    assert run.total("produced") <= 6, f"{run.total('produced')} spans of 5"
    return f"1 warning, {run.total('produced')} spans produced"
