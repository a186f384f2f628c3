"""Forks and threads: each process delivers its own spans, and only those, exactly once."""

from __future__ import annotations

import json
from collections import Counter

from tests.battery.backend import backend
from tests.battery.lab import Lab
from tests.battery.registry import Skipped, case


@case(1, "mp-child", "spans in a forked multiprocessing child that ends at once", "all delivered", peers=True)
def multiprocessing_child(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("multiprocessing_child", server.url)
        arrived = server.names.count("in the child")
        assert arrived == 40, f"delivered {arrived}/40, exit {run.code}"
        return f"delivered {arrived}/40, exit {run.code}"


@case(
    7,
    "fork-storm",
    "500 forks while 8 threads emit and log",
    "no hang; a child's first line within 50 ms (p99)",
    quick=False,
)
def fork_storm(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("fork_storm", server.url, timeout=120)
        counts = Counter(server.names)
        p99, threads = run.notes["p99"] * 1000, run.notes["threads"]
        assert counts["child"] == 500, f"{counts['child']}/500 children delivered"
        assert counts["thread"] == threads, f"{counts['thread']}/{threads} of the threads' spans"
        assert p99 < 50, f"a child's first line came after {p99:.0f} ms (p99), not 50"
        return f"p99 {p99:.0f} ms; delivered 500/500 of the children, {threads}/{threads} of the threads"


@case(9, "double-fork", "a grandchild emits", "exactly once", peers=True)
def double_fork(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("double_fork", server.url, OBSKIT_FLUSH_INTERVAL="3600")
        counts = Counter(server.names)
        assert counts == {"parent": 1, "child": 1, "grandchild": 1}, f"delivered {dict(counts)}"
        return lab.settled(run, server, 3)


@case(
    57,
    "threads",
    "init() 1000 times; no thread can be started",
    "no more threads than after the first span; the next span starts the worker",
)
def thread_exhaustion(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("thread_exhaustion", server.url)
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
        more = run.notes["more"]
        assert more <= 0, f"{more} more threads after 1000 times init()"
        if not run.notes["exhausted"]:
            raise Skipped("RLIMIT_NPROC does not keep this machine from starting threads")
        counts = Counter(server.names)
        once = dict.fromkeys(["before", "first", "without a thread", "with a thread again"], 1)
        assert counts == {**once, "between": 10}, counts
        assert run.notes["more_after"] == 0, run.notes
        return "no more threads after 1000 times init(); delivered 1/1 without a thread, 1/1 after"


@case(61, "fork-import", "forks while the delivering thread imports from a slow disk", "no hang; all delivered")
def fork_amid_imports(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("fork_amid_imports", server.url, OBSKIT_FLUSH_INTERVAL="0")
        counts = Counter(server.names)
        assert counts == {"parent": 1, "child": 10}, f"delivered {dict(counts)}"
        return f"delivered 1/1 of the parent, 10/10 of the children, exit {run.code}"


@case(
    62,
    "sigterm-child",
    "SIGTERM to forked children 0 to 20 ms after their start, whatever they wait in",
    "each ends by it at once, and what it had ended is delivered",
)
def terminated_children(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("terminated_children", server.url)
        arrived, ended = server.names.count("child"), run.notes["ended"]
        assert ended <= arrived <= 40, f"delivered {arrived} of {ended} to 40 spans"
        longest = run.notes["longest"]
        assert longest < 10, f"ended {longest:.1f} s after the signal, as if nobody delivered"
        return f"40/40 ended by SIGTERM, in {longest:.2f} s; delivered {arrived}, {ended} of them had surely ended"


@case(65, "fork-first-line", "a fork while another thread logs the process's first line", "no hang; every line there")
def first_line_amid_fork(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("first_line_amid_fork", server.url, OBSKIT_LOGS="json")
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
        lines = Counter(json.loads(line)["message"] for line in run.out.splitlines())
        assert lines == {"first": 20, "second": 20, "grandchild": 20}, f"written {dict(lines)}"
        return "60/60 lines of 40 processes"


@case(
    66,
    "pool-worker-dies",
    "50 pools closed as soon as made; workers killed amid a task",
    "no hang; what the others do is delivered",
)
def dying_pool_workers(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("dying_pool_workers", server.url)
        counts = Counter(server.names)
        assert counts == {"work": 40}, f"delivered {dict(counts)}"
        return f"delivered 40/40 of the workers that lived, exit {run.code}"
