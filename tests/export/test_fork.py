"""A fork: each process delivers its own spans, and only those, exactly once."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter

import pytest

from tests.export.receiver import AT_REST, clean_environ, eventually, free_port, receiver, reply, run

START = """
import os, sys, obskit
obskit.init(service="test", exporter=sys.argv[1], integrations=[], flush_interval=float(sys.argv[2]))
def span(name):
    with obskit.span(name): pass
"""


def names(server) -> Counter:
    return Counter(server.names)


def test_spans_in_the_queue_at_the_fork_are_the_parents():
    code = (
        START
        + """
span('before')
if os.fork() == 0:
    span('child')
    print(obskit.stats()['exporters'][0]['produced'], flush=True); sys.exit()
os.wait()
span('after')
"""
    )
    with receiver() as server:
        done = run(code, server.url, "3600")
        assert done.stdout == "1\n", done.stderr
        assert names(server) == {"before": 1, "child": 1, "after": 1}
        assert len({span["traceId"] for span in server.spans}) == 3


def test_a_fork_while_the_worker_sends_leaves_the_batch_to_the_parent():
    code = (
        START
        + """
span('in flight')
input()
if os.fork() == 0:
    span('child'); sys.exit()
os.wait()
span('after')
"""
    )
    with receiver() as server:
        gate = threading.Event()

        def wait(connection) -> bool:
            gate.wait(30)
            return reply(202)(connection)

        server.answers = [wait]
        # CPython 3.12 and newer warn of any fork in a process with threads.
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, server.url, "0"]
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        program = subprocess.Popen(command, **pipes, text=True, env=clean_environ())
        eventually(lambda: server.bodies)
        program.stdin.write("\n")
        program.stdin.flush()
        eventually(lambda: "child" in server.names)
        gate.set()
        assert program.communicate(timeout=30)[1] == ""
        assert names(server) == {"in flight": 1, "child": 1, "after": 1}


def test_forks_in_the_middle_of_traffic_lose_and_double_nothing():
    code = (
        START
        + """
import threading
over = threading.Event()
count = [0]
def work():
    while not over.is_set():
        span('thread'); count[0] += 1
        over.wait(0.001)
thread = threading.Thread(target=work)
thread.start()
for number in range(30):
    if os.fork() == 0:
        span('child %d' % number)
        obskit.shutdown(); os._exit(0)
    os.wait()
over.set()
thread.join()
print(count[0])
"""
    )
    with receiver() as server:
        done = run(code, server.url, "0")
        assert done.stderr == ""
        found = names(server)
        assert found.pop("thread") == int(done.stdout)
        assert found == {f"child {number}": 1 for number in range(30)}


def test_a_fork_that_python_does_not_see_is_noticed_by_the_next_trace():
    code = (
        START
        + AT_REST
        + """
import ctypes
libc_fork = ctypes.PyDLL(None).fork  # keeps the interpreter lock, and runs none of Python's hooks
span('before')
at_rest()
child = libc_fork()
if child == 0:
    span('child')
    ok = obskit.flush()
    os._exit(0 if ok else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
span('after')
"""
    )
    assert ctypes.PyDLL(None).fork
    with receiver() as server:
        done = run(code, server.url, "3600")
        assert (done.stdout, done.stderr) == ("0\n", "")
        assert names(server) == {"before": 1, "child": 1, "after": 1}
        assert len({span["id"] for span in server.spans}) == 3


def test_a_child_imports_nothing_that_its_parent_has_not():
    """An import takes a child longer than all that obskit renews in it."""
    code = (
        START
        + """
span('before')
obskit.flush()
before = set(sys.modules)
if os.fork() == 0:
    span('child')
    obskit.flush()
    print(set(sys.modules) - before, flush=True); os._exit(0)
os.wait()
"""
    )
    with receiver() as server:
        done = run(code, server.url, "3600")
        assert (done.stdout, done.stderr) == ("set()\n", "")
        assert names(server) == {"before": 1, "child": 1}


def test_counters_of_a_child_begin_at_zero():
    code = (
        START
        + """
obskit.init(exporter=sys.argv[1], sample_rate=0, integrations=[])
span('unsampled')
if os.fork() == 0:
    print(obskit.stats()['sampled_out'], flush=True); os._exit(0)
os.wait()
print(obskit.stats()['sampled_out'])
"""
    )
    with receiver() as server:
        assert run(code, server.url, "3600").stdout == "0\n1\n"


def test_the_workers_of_a_preloading_gunicorn_deliver_and_their_master_too(tmp_path):
    pytest.importorskip("gunicorn")
    source = """
import os, obskit
obskit.init(service="test", integrations=[], flush_interval=3600)
with obskit.span("master"): pass
def application(environ, start_response):
    with obskit.span("worker", pid=os.getpid()):
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]
"""
    (tmp_path / "served.py").write_text(source)
    port = free_port()
    with receiver() as server:
        options = ["--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "--log-level", "critical"]
        environ = clean_environ(OBSKIT_EXPORTER=server.url)
        program = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "served:application"], cwd=tmp_path, env=environ
        )
        try:
            eventually(lambda: answers(port), 30)
            for _ in range(60):
                answers(port)
        finally:
            program.send_signal(signal.SIGTERM)
            program.wait(30)
        spans = server.spans
    pids = {span["tags"]["pid"] for span in spans if span["name"] == "worker"}
    assert Counter(span["name"] for span in spans)["master"] == 1
    assert len([span for span in spans if span["name"] == "worker"]) == 61
    assert pids
    assert str(program.pid) not in pids
    assert str(os.getpid()) not in pids
    assert json.dumps(sorted({span["id"] for span in spans})).count(",") == 61


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return response.status == 200
    except OSError:
        return False
