"""The profiler's life: when it runs, what it writes, and that the application does not notice."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.installed import need
from tests.profiling.profiles import BURN, ReadProfile, environment, files, read, run

OFF = {"OBSKIT_PROFILER_OUTPUT": ""}
MODULES = "import sys, obskit; obskit.init(); print([m for m in sys.modules if m.startswith('obskit.profiling')])"


def start(code: str, folder: Path, **extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BURN + code],
        cwd=folder,
        env=environment(folder, **extra),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("extra", [OFF, {"OBSKIT_PROFILER": "off"}, {"OBSKIT_ENABLED": "false"}])
def test_it_is_not_even_imported_where_it_is_off(tmp_path: Path, extra: dict[str, str]) -> None:
    assert run(MODULES, tmp_path, **extra, NO_GCE_CHECK="true").stdout == "[]\n"
    assert files(tmp_path) == []


def test_builtin_without_a_place_for_profiles_says_so_once_and_does_nothing(tmp_path: Path) -> None:
    code = """
import obskit, logging
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
obskit.init()
obskit.init()
print(obskit.stats()["profiler"])
"""
    printed = run(code, tmp_path, **OFF, OBSKIT_PROFILER="builtin", NO_GCE_CHECK="true").stdout.splitlines()
    assert len(printed) == 2
    assert "nowhere to put profiles" in printed[0]
    assert "OBSKIT_PROFILER_OUTPUT" in printed[0]
    assert printed[1] == "{'state': 'off'}"


def test_profiles_are_written_whole_under_their_names_and_counted(tmp_path: Path) -> None:
    code = """
import json, os, obskit
begin()
names = set()
while obskit.stats()["profiler"]["profiles"] < 4:
    burn(.01)
    names |= set(os.listdir("profiles")) if os.path.isdir("profiles") else set()
print(json.dumps([os.getpid(), obskit.stats()["profiler"], sorted(names)]))
obskit.shutdown()
print(json.dumps(obskit.stats()["profiler"]))
"""
    extra = {"OBSKIT_PROFILER_DURATION": "0.5", "OBSKIT_PROFILER_INTERVAL": "1"}
    first, last = map(json.loads, run(code, tmp_path, **extra).stdout.splitlines())
    pid, stats, seen = first
    assert stats["output"] == str(tmp_path / "profiles")
    assert stats["lost"] == 0
    assert stats["samples"] > 10
    assert last == {"state": "off"}
    written = [file.name for file in files(tmp_path)]
    shape = re.compile(rf"orders-(cpu|wall)-\d{{8}}T\d{{6}}\.\d{{3}}Z\.{pid}\.pprof\.gz")
    assert all(shape.fullmatch(name) for name in written)
    assert [name for name in os.listdir(tmp_path / "profiles") if name not in written] == []
    assert {name for name in seen if not name.startswith(".")} <= set(written)
    for file in files(tmp_path, "cpu"):
        profile = ReadProfile(file.read_bytes())
        assert 0 < profile.message.duration_nanos <= 600_000_000
        assert abs(profile.message.time_nanos / 1e9 - time.time()) < 600


def test_it_samples_a_part_of_each_interval_from_a_moment_that_chance_draws(tmp_path: Path) -> None:
    code = """
from obskit.profiling.outputs import FolderOutput, Schedule
from obskit.profiling.outputs import Stop
output = lambda: FolderOutput("profiles", "x", Schedule(("WALL",), 10.0, 60.0))
waits = []
class Quick(Stop):
    def wait(self, seconds):
        self.asked = True
        return True
for _ in range(300):
    one = output()
    one.wait_turn(Quick())
    waits.append(one._schedule._due - time.monotonic())
print(min(waits), max(waits))
"""
    least, most = map(float, run(code, tmp_path).stdout.split())
    assert -1 < least < 5
    assert 45 < most < 50.1


def test_shutdown_ends_it_with_what_it_has_and_init_starts_it_again(tmp_path: Path) -> None:
    code = """
import obskit, os
def threads(): return len(os.listdir("/proc/self/task"))
before = threads()
begin()
assert threads() == before + 1
burn(.2)
assert obskit.shutdown()
deadline = time.monotonic() + 20
while threads() > before and time.monotonic() < deadline: time.sleep(.01)
print(threads() - before, len(os.listdir("profiles")))
begin(service="orders")
burn(.2)
obskit.init(profiler="off")
print(len(os.listdir("profiles")), obskit.stats()["profiler"])
"""
    assert run(code, tmp_path).stdout == "0 2\n4 {'state': 'off'}\n"


def test_the_same_options_leave_it_alone_and_others_restart_it(tmp_path: Path) -> None:
    code = """
import obskit
from obskit.runtime import runtime
begin()
first = runtime._profiler
obskit.init()
obskit.init(sample_rate=.5)
print(first is runtime._profiler)
obskit.init(profiler_hz=50)
print(first is runtime._profiler, first.stats()["state"])
"""
    assert run(code, tmp_path).stdout == "True\nFalse off\n"


def test_signals_and_logging_stay_as_they_are(tmp_path: Path) -> None:
    code = """
import logging, signal
before = [signal.getsignal(number) for number in signal.valid_signals()], signal.getitimer(signal.ITIMER_PROF)
begin()
burn(.1)
after = [signal.getsignal(number) for number in signal.valid_signals()], signal.getitimer(signal.ITIMER_PROF)
print(before == after, logging.getLogger().handlers)
"""
    assert run(code, tmp_path).stdout == "True []\n"


@pytest.mark.parametrize(
    "ending", ["", "import sys; sys.exit()", "raise SystemExit", "import obskit; obskit.shutdown()"]
)
def test_a_program_ends_silently_while_it_samples(tmp_path: Path, ending: str) -> None:
    """With warnings as errors, and threads of the application that still run."""
    code = f"""
import threading
threading.Thread(target=lambda: [burn(.01) for _ in range(10**9)], daemon=True).start()
begin()
burn(.1)
{ending}
"""
    run(code, tmp_path, "-W", "error", OBSKIT_PROFILER_HZ="1000")
    assert len(files(tmp_path)) == 2


def test_a_program_that_is_killed_is_not_held_up(tmp_path: Path) -> None:
    process = start("begin(); print('on', flush=True); time.sleep(60)", tmp_path)
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM
    process.communicate()


def test_a_folder_that_cannot_be_written_is_told_once_and_counted(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("a file")
    code = """
import obskit, logging, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
begin()
burn(.1)
from obskit.runtime import runtime
profiler = runtime._profiler
obskit.shutdown()
print(profiler.stats()["lost"], profiler.stats()["profiles"])
"""
    printed = run(code, tmp_path).stdout
    assert printed.count("profiling failed inside obskit; the application is not affected") == 1
    assert printed.endswith("1 0\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_profiled_for_itself(tmp_path: Path) -> None:
    code = """
import obskit, os, sys
def in_parent(): burn(.3)
def in_child(): burn(.3)
begin()
in_parent()
pid = os.fork()
if pid == 0:
    begin()
    in_child()
    print(obskit.shutdown(10), flush=True)
    os._exit(0)
print(pid, os.waitpid(pid, 0)[1])
"""
    options = ["-W", "ignore::DeprecationWarning"]  # of Python 3.12 and later: forks of programs with threads
    printed = run(code, tmp_path, *options, OBSKIT_PROFILER_HZ="500").stdout.split()
    assert printed[0] == "True"
    assert printed[2] == "0"
    of_child = [file for file in files(tmp_path, "cpu") if file.name.endswith(f".{printed[1]}.pprof.gz")]
    of_parent = [file for file in files(tmp_path, "cpu") if file not in of_child]
    [child], [parent] = of_child, of_parent
    in_child = {name for s in ReadProfile(child.read_bytes()).samples for name in s.functions}
    in_parent = {name for s in ReadProfile(parent.read_bytes()).samples for name in s.functions}
    assert "in_child" in in_child
    assert "in_parent" not in in_child
    assert "in_parent" in in_parent
    assert "in_child" not in in_parent


UWSGI = Path(sys.executable).with_name("uwsgi")


@pytest.mark.skipif(not UWSGI.exists(), reason="there is no uwsgi: pip install pyuwsgi")
@pytest.mark.parametrize("option", ["--need-app", "--enable-threads"])
def test_workers_of_uwsgi_are_profiled_and_not_its_master(tmp_path: Path, option: str) -> None:
    """By default uWSGI forks without Python's knowledge; a thread that waits for the interpreter then stops workers.

    So it is the first request that is traced in a worker that starts the profiler there.
    """
    (tmp_path / "app.py").write_text(
        BURN
        + """
import flask, obskit
obskit.init()
burn(.3)
application = flask.Flask("shop")
@application.get("/")
def page():
    burn(.05)
    return "x"
"""
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(UWSGI), "--http-socket", address, "--master", "--no-orphans", "--wsgi-file", "app.py", option]
    often = {"OBSKIT_PROFILER_DURATION": "0.5", "OBSKIT_PROFILER_INTERVAL": "0.5"}
    log = (tmp_path / "log").open("w")
    with (
        log,
        subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path, **often), stdout=log, stderr=log) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while not files(tmp_path, "cpu"):
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                get(address)
        finally:
            process.kill()
            process.wait(60)
    profile = ReadProfile(files(tmp_path, "cpu")[0].read_bytes())
    assert profile.shares(lambda sample: "page" in sample.functions)[True] > 50


def get(address: str) -> None:
    try:
        urllib.request.urlopen(f"http://{address}/", timeout=5).close()
    except OSError:
        time.sleep(0.05)


def test_processes_of_multiprocessing_write_their_own(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        BURN
        + """
import multiprocessing, sys
def work(_): burn(.2)
if __name__ == "__main__":
    begin()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(work, range(6))
        pool.close()
        pool.join()
"""
    )
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len({file.name.rsplit(".", 3)[1] for file in files(tmp_path, "cpu")}) == 3
    assert (
        sum("work" in {n for s in ReadProfile(f.read_bytes()).samples for n in s.functions} for f in files(tmp_path))
        > 2
    )


def test_processes_of_one_service_remove_old_profiles_of_one_folder_at_the_same_time(tmp_path: Path) -> None:
    code = """
import os
from obskit.profiling import outputs
from obskit.profiling.outputs import Assignment
outputs._MOST_FILES = 5
def deliver():
    output = outputs.FolderOutput("profiles", "orders", outputs.Schedule(("CPU",), 1.0, 1.0))
    for _ in range(300): output.deliver(Assignment("CPU", 1.0), b"x")
children = []
for _ in range(4):
    if not (pid := os.fork()):
        try: deliver()
        except BaseException: os._exit(1)
        os._exit(0)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
"""
    assert run(code, tmp_path).stdout == "[0, 0, 0, 0]\n"
    assert len(files(tmp_path)) <= 9


def test_it_forks_and_ends_at_any_moment(tmp_path: Path) -> None:
    """Children that leave at once, by every way, while a thousand samples a second are taken and threads start."""
    code = """
import os, threading
begin()
def churn():
    for _ in range(100):
        thread = threading.Thread(target=burn, args=(.0005,))
        thread.start()
        thread.join()
noise = threading.Thread(target=churn)
noise.start()
for number in range(30):
    pid = os.fork()
    if pid == 0:
        burn(.001 * (number % 4))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
noise.join()
"""
    options = ["-W", "ignore::DeprecationWarning"]  # of Python 3.12 and later: forks of programs with threads
    run(code, tmp_path, *options, OBSKIT_PROFILER_HZ="1000")
    assert len(files(tmp_path, "cpu")) == 1


def test_under_gevent_it_is_a_thread_of_its_own_that_sees_the_greenlets(tmp_path: Path) -> None:
    need("gevent")
    code = """
def greenlet(): [(burn(.01), time.sleep(.001)) for _ in range(20)]
begin()
gevent.joinall([gevent.spawn(greenlet) for _ in range(3)])
import obskit
print(obskit.shutdown())
"""
    program = "import gevent.monkey; gevent.monkey.patch_all()\nimport gevent\n" + BURN + code
    (tmp_path / "app.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    profile = read(tmp_path, "cpu")
    assert {sample.labels["thread"] for sample in profile.samples} == {"MainThread"}
    assert profile.shares(lambda sample: "greenlet" in sample.functions)[True] > 70


def test_where_no_thread_can_be_started_the_application_goes_on(tmp_path: Path) -> None:
    code = """
import _thread, logging, obskit
logging.disable()
def refuse(*_): raise RuntimeError("can't start new thread")
original, _thread.start_new_thread = _thread.start_new_thread, refuse
obskit.init()
_thread.start_new_thread = original
print(obskit.stats()["profiler"]["state"], obskit.shutdown())
"""
    assert run(code, tmp_path).stdout == "off True\n"


def test_heap_profiles_show_what_is_allocated_and_where(tmp_path: Path) -> None:
    (tmp_path / "leak.py").write_text("kept = []\ndef leak():\n    kept.append(bytearray(5_000_000))\n")
    code = """
import sys; sys.path.insert(0, ".")
import leak, tracemalloc
begin()
leak.leak(); leak.leak()
import obskit
obskit.shutdown()
print(tracemalloc.is_tracing())
"""
    assert run(code, tmp_path, OBSKIT_PROFILER_HEAP="true").stdout == "False\n"
    heap = read(tmp_path, "heap")
    assert heap.types == [("inuse_objects", "count"), ("inuse_space", "bytes")]
    [leaked] = [sample for sample in heap.samples if sample.stack[0].file.endswith("leak.py")]
    assert leaked.values[0] == pytest.approx(4, abs=2)  # each with its buffer, and the list
    assert leaked.values[1] == pytest.approx(10_000_000, rel=0.01)
    assert leaked.stack[0].line == 3


def test_an_applications_own_tracemalloc_stays_on(tmp_path: Path) -> None:
    code = (
        "import tracemalloc, obskit; tracemalloc.start(1); begin(); obskit.shutdown(); print(tracemalloc.is_tracing())"
    )
    assert run(code, tmp_path, OBSKIT_PROFILER_HEAP="true").stdout == "True\n"


def test_it_uploads_to_cloud_profiler_in_google_cloud(tmp_path: Path) -> None:
    from tests.profiling.profiler_server import serve, turn

    with serve(turn("CPU", "0.5s"), turn("WALL", "0.5s")) as cloud:
        code = """
import obskit
obskit.init()
deadline = time.monotonic() + 60
while obskit.stats()["profiler"]["profiles"] < 2 and time.monotonic() < deadline: burn(.01)
print(obskit.stats()["profiler"]["output"], obskit.shutdown())
"""
        extra = {**OFF, "K_SERVICE": "orders", "NO_GCE_CHECK": "", "OBSKIT_PROJECT": "shop-1"}
        extra |= {"OBSKIT_CLOUDPROFILER_ENDPOINT": cloud.address, "GCE_METADATA_HOST": "127.0.0.1:9"}
        assert run(code, tmp_path, **extra).stdout == "Cloud Profiler True\n"
        assert cloud.problems == []
        assert [request.body["profileType"] for request in cloud.patches] == ["CPU", "WALL"]
        assert cloud.pprof(0)
