"""What CPython warns of at a fork, with obskit's threads in the process and without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.export.receiver import clean_environ

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12) or sys.platform != "linux", reason="warns of no fork")
TRACED = """
import obskit, socket
receiver = socket.create_server(('127.0.0.1', 0))  # never answers: the worker is amid a call at each fork
obskit.init(exporter=f'http://127.0.0.1:{receiver.getsockname()[1]}', exit_timeout=0, logs='inherit', PROFILER)
receiver.detach()
with obskit.span('first'):
    pass
"""
FORKS = """
import multiprocessing, os, threading, warnings

def fork():
    try:
        return os.fork() or os._exit(0)
    except DeprecationWarning as warning:  # from 3.15 on
        print(warning)

before = list(warnings.filters)
with warnings.catch_warnings(record=True) as seen:
    KIND
    fork()
    child, _ = os.forkpty()
    if child == 0:
        os._exit(0)
    process = multiprocessing.get_context('fork').Process(target=print)
    process.start()
    process.join()
    warnings.warn('other', DeprecationWarning)
    os.register_at_fork(after_in_parent=LATE)
    fork()
print([str(warning.message).replace(str(os.getpid()), 'PID') for warning in seen])
print(warnings.filters == before)
"""
OTHER = "threading.Thread(target=threading.Event().wait, daemon=True).start"
KINDS = ["", "warnings.simplefilter('always')", "warnings.resetwarnings()"]


def outcome(code: str, kind: str = "", late: str = "print", option: str = "default") -> tuple[str, str, int]:
    code = code.replace("KIND", kind or "pass").replace("LATE", late)
    command = [sys.executable, "-W", f"{option}::DeprecationWarning:__main__", "-c", code]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, timeout=60)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profiler", ["profiler='off'", "profiler='builtin', profiler_output='.'"])
def test_a_fork_beside_obskits_threads_alone_warns_of_nothing(kind, profiler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare = outcome(FORKS, kind)
    assert "\n['other']\nTrue\n" in bare[0]
    assert outcome(TRACED.replace("PROFILER", profiler) + FORKS, kind) == bare


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begins", ["before", "after"])
def test_threads_of_the_application_are_warned_of_as_without_obskit(kind, begins):
    traced = TRACED.replace("PROFILER", "profiler='off'")
    start, late = (f"import threading\n{OTHER}()\n", "print") if begins == "before" else ("", OTHER)
    assert outcome(traced + start + FORKS, kind, late) == outcome(start + FORKS, kind, late)


def test_an_error_of_each_warning_is_none_of_a_fork_beside_obskits_threads():
    code = FORKS.split("before =", maxsplit=1)[0] + "fork()\nprint(1)"
    assert outcome(TRACED.replace("PROFILER", "profiler='off'") + code, option="error") == ("1\n", "", 0)
