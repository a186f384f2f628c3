"""Google's own agent, run in whole programs against a server that speaks Cloud Profiler's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.export.receiver import clean_environ, eventually, free_port
from tests.logs.cloud import google_fakes
from tests.profiling import profiler_server
from tests.profiling.profiler_server import CloudProfiler, later, serve, turn

INSTALLED = find_spec("googlecloudprofiler") is not None
needs_agent = pytest.mark.skipif(
    not INSTALLED, reason="needs the extra google-profiler, which takes a C++ compiler and Python before 3.13"
)
# google.api_core warns on Python 3.10, and Python itself, from 3.12 on, where threads run while it forks.
PYTHON = (sys.executable, "-W", "ignore", "-c")
CPU_IS_SAFE = sys.version_info < (3, 11)

START = """
import json, logging, os, signal, sys, threading, time
from obskit.profiling.google_agent import AgentOptions, GoogleAgent
agent = GoogleAgent(AgentOptions("Orders", "7", os.environ.get("PROJECT")))
def wait_until(condition, work=lambda: time.sleep(0.005), seconds=30):
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        work()
def busily():
    sum(range(1000))
def started():
    return agent.stats()["state"] == "running"
"""
UNTIL_TOLD = "threading.Thread(target=lambda: (sys.stdin.readline(), told.append(1)), daemon=True).start()\n"
RUN = START + "agent.start()\ntold = []\n" + UNTIL_TOLD + "wait_until(lambda: told, busily)\n"


@pytest.fixture
def cloud() -> Iterator[CloudProfiler]:
    with serve() as server:
        yield server
        assert server.problems == []


@pytest.fixture
def environ(cloud: CloudProfiler, tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose credentials and profiler are the server's."""
    kept = clean_environ(
        GOOGLE_APPLICATION_CREDENTIALS=str(google_fakes.make_key_file(tmp_path, cloud.address)),
        OBSKIT_CLOUDPROFILER_ENDPOINT=cloud.address,
        NO_GCE_CHECK="true",
    )
    return {name: value for name, value in kept.items() if name not in ("GOOGLE_CLOUD_PROJECT", "GCE_METADATA_HOST")}


def run(code: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PYTHON, code], env=environ, capture_output=True, text=True, timeout=60)


def start(code: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*PYTHON, code], env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def tell(program: subprocess.Popen[str], line: str) -> None:
    assert program.stdin is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()


def lines(text: str) -> list[str]:
    """Return what obskit's last resort printed, less the line that says which types are left out."""
    return [line for line in text.splitlines() if "is limited" not in line]


# What it does


@needs_agent
def test_wall_time_profiles_of_the_main_thread_arrive(cloud, environ):
    cloud.turns += [turn("WALL", "0.5s"), turn("WALL", "0.2s")]
    del environ["NO_GCE_CHECK"]
    with google_fakes.metadata({"instance/zone": "projects/9/zones/z-b"}) as address:
        program = start(RUN, {**environ, "GCE_METADATA_HOST": address})
        eventually(lambda: len(cloud.creates) == 3, 30)
        out, errors = program.communicate("end\n", timeout=20)
    assert (program.returncode, out, lines(errors)) == (0, "", [])
    deployment = cloud.creates[0].body["deployment"]
    assert deployment["projectId"] == "the-accounts-project"
    assert deployment["target"] == "orders"
    assert deployment["labels"] == {"language": "python", "version": "7", "zone": "z-b"}
    assert cloud.creates[0].body["profileType"] == (["CPU", "WALL"] if CPU_IS_SAFE else ["WALL"])
    profile = profiler_server.decode(cloud.pprof(0))
    assert profile.sample_types == [("sample", "count"), ("wall", "nanoseconds")]
    assert "busily" in profile.functions


@needs_agent
@pytest.mark.skipif(not CPU_IS_SAFE, reason="the agent's CPU profiles crash Python from 3.11 on")
def test_cpu_profiles_arrive_where_python_survives_them(cloud, environ):
    cloud.turns.append(turn("CPU", "0.5s"))
    with start(RUN, environ) as program:
        eventually(lambda: len(cloud.creates) == 2, 30)
        program.communicate("end\n", timeout=20)
    assert program.returncode == 0
    profile = profiler_server.decode(cloud.pprof(0))
    assert profile.sample_types == [("sample", "count"), ("CPU", "nanoseconds")]
    assert "busily" in profile.functions


@needs_agent
@pytest.mark.skipif(CPU_IS_SAFE, reason="nothing is left out on Python 3.10")
def test_what_is_left_out_is_told_in_one_line_unless_it_is_forced(cloud, environ):
    code = START + "agent.start(); wait_until(started)\nprint(agent.stats())"
    done = run(code, environ)
    assert done.stdout == "{'state': 'running', 'types': ['WALL'], 'failures': 0}\n"
    assert done.stderr.count("\n") == 1
    assert "OBSKIT_GOOGLE_PROFILER_CPU=true" in done.stderr
    assert "profiler='builtin'" in done.stderr
    forced = run(code, {**environ, "OBSKIT_GOOGLE_PROFILER_CPU": "true"})
    assert forced.stdout == "{'state': 'running', 'types': ['CPU', 'WALL'], 'failures': 0}\n"
    assert forced.stderr == ""


@pytest.mark.skipif(INSTALLED, reason="Google's agent is installed")
def test_where_the_agent_is_not_installed_one_line_names_the_remedy(environ):
    done = run(START + "agent.start()\nprint(agent.stats())\nagent.stop()", environ)
    assert done.stdout == "{'state': 'off', 'types': [], 'failures': 0}\n"
    assert done.stderr.count("\n") == 1
    assert "profiler='builtin'" in done.stderr


# What it leaves alone


@needs_agent
def test_the_applications_logging_is_as_it_was(cloud, environ):
    code = """
agent.start(); wait_until(started)
print(logging.getLogger().handlers, logging.getLogger().level)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
logging.info("mine")
"""
    done = run(START + code, environ)
    assert done.stdout == "[] 30\nmine\n"
    assert lines(done.stderr) == []


@needs_agent
def test_a_handler_of_sigalrm_that_the_application_has_stays(cloud, environ):
    code = """
signal.signal(signal.SIGALRM, lambda *_: print("mine"))
agent.start()
signal.raise_signal(signal.SIGALRM)
print(agent.stats()["types"])
"""
    done = run(START + code, environ)
    assert done.stdout == f"mine\n{['CPU'] if CPU_IS_SAFE else []}\n"
    assert done.stderr.count("\n") == 1
    assert "SIGALRM" in done.stderr


@needs_agent
def test_a_handler_of_sigalrm_that_the_application_sets_later_is_not_flooded(cloud, environ):
    code = """
alarms = []
agent.start()
signal.signal(signal.SIGALRM, lambda *_: alarms.append(1))
sys.stdin.readline()
print(alarms)
"""
    cloud.turns += [turn("WALL", "0.3s")] * 2
    with start(START + code, environ) as program:
        eventually(lambda: len(cloud.creates) == 3, 30)
        out, errors = program.communicate("end\n", timeout=20)
    assert (program.returncode, out) == (0, "[]\n")
    assert errors.count("the application handles SIGALRM itself now") == 1
    assert cloud.patches == []


@needs_agent
def test_outside_the_main_thread_there_are_no_wall_time_profiles(cloud, environ):
    done = run(START + "t = threading.Thread(target=agent.start); t.start(); t.join(); print(agent.stats())", environ)
    assert json.loads(done.stdout.replace("'", '"'))["types"] == (["CPU"] if CPU_IS_SAFE else [])
    assert done.stderr.count("\n") == 1


@needs_agent
@pytest.mark.parametrize("duration", ["0.01s", "30s"])
def test_a_program_that_ends_in_the_middle_of_a_profile_ends_well(cloud, environ, duration):
    cloud.turns += [turn("WALL", duration)] * 500
    code = """
import atexit, signal
atexit.register(lambda: print(signal.getsignal(signal.SIGALRM).name, signal.getitimer(signal.ITIMER_REAL)))
"""
    with start(code + RUN + "sys.exit(3)", environ) as program:
        eventually(lambda: cloud.creates, 30)
        out, _ = program.communicate("end\n", timeout=20)
    assert (program.returncode, out.split()[0]) == (3, "SIG_IGN")


# What may go wrong


@needs_agent
def test_a_metadata_server_that_is_silent_holds_up_neither_the_start_nor_the_end_of_a_program(cloud, environ):
    del environ["NO_GCE_CHECK"]
    with google_fakes.silence() as address:
        environ["GCE_METADATA_HOST"] = address
        done = run(START + "agent.start()\nprint('ready')", environ)
        assert (done.returncode, done.stdout, lines(done.stderr)) == (0, "ready\n", [])
        with start(RUN, environ) as program:
            eventually(lambda: cloud.creates, 30)  # it starts without the zone
            program.communicate("end\n", timeout=20)
    assert "zone" not in cloud.creates[0].body["deployment"]["labels"]


@needs_agent
def test_missing_credentials_and_an_unusable_endpoint_are_told_in_one_line(cloud, environ, tmp_path):
    code = START + "agent.start(); wait_until(lambda: agent.stats()['failures'])\nprint(agent.stats()['state'])"
    (tmp_path / "empty").write_text("{}")
    for broken in (
        {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "missing")},
        {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "empty")},
        {"OBSKIT_CLOUDPROFILER_ENDPOINT": "ftp://x"},
        {"OBSKIT_CLOUDPROFILER_ENDPOINT": "http://192.0.2.1"},
    ):
        done = run(code, {**environ, **broken})
        assert (done.returncode, done.stdout) == (0, "starting\n"), done.stderr
        assert len(lines(done.stderr)) == 1, done.stderr
        assert "cannot start" in done.stderr
    assert cloud.creates == []


@needs_agent
def test_a_server_that_is_not_there_changes_nothing(environ):
    environ["OBSKIT_CLOUDPROFILER_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    done = run(START + "agent.start(); wait_until(started)\nprint('done')", environ)
    assert (done.returncode, done.stdout) == (0, "done\n")


@needs_agent
def test_an_agent_that_the_application_started_is_left_alone(cloud, environ):
    code = """
import googlecloudprofiler
googlecloudprofiler._started = True
agent.start(); wait_until(lambda: agent.stats()["failures"])
print(agent.stats()["state"])
"""
    done = run(START + code, environ)
    assert done.stdout == "off\n"
    assert len(lines(done.stderr)) == 1
    assert cloud.creates == []


# Stopping, starting again, forking


@needs_agent
def test_after_stop_no_profile_is_taken_and_it_can_be_started_again(cloud, environ):
    code = """
agent.start(); agent.start(); sys.stdin.readline()
agent.stop(); agent.stop()
print(agent.stats()["state"], flush=True)
sys.stdin.readline()
agent.start(); wait_until(started)
print(agent.stats()["state"], flush=True)
sys.stdin.readline()
"""
    cloud.turns += [later(turn("WALL", "0.1s")), turn("WALL", "0.5s")]
    with start(START + code, environ) as program:
        eventually(lambda: cloud.creates, 30)
        tell(program, "stop")
        assert program.stdout.readline() == "off\n"
        cloud.released.set()  # the first agent has its turn now
        tell(program, "again")
        assert program.stdout.readline() == "running\n"
        eventually(lambda: cloud.patches, 30)
        assert program.communicate("end\n", timeout=20)[0] == ""
    assert program.returncode == 0
    assert [patch.body["duration"] for patch in cloud.patches] == ["0.5s"]


@needs_agent
def test_a_forked_child_has_an_agent_of_its_own(cloud, environ):
    code = """
agent.start(); wait_until(started)
print("started", flush=True)
sys.stdin.readline()
if os.fork() == 0:
    told = []
    threading.Thread(target=lambda: (sys.stdin.readline(), told.append(1)), daemon=True).start()
    wait_until(lambda: told, busily)
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    with start(START + code, environ) as program:
        assert program.stdout.readline() == "started\n"
        eventually(lambda: len(cloud.creates) == 1, 30)
        cloud.turns.append(turn("WALL", "0.2s"))
        tell(program, "fork")
        eventually(lambda: cloud.patches, 30)
        out, errors = program.communicate("end\n", timeout=20)
    assert (out, lines(errors)) == ("5\n", [])
    assert "busily" in profiler_server.decode(cloud.pprof()).functions


@needs_agent
def test_nothing_of_it_is_traced(cloud, environ):
    code = """
import obskit
obskit.init(exporter="console", service="test", disable=["threading"])  # which would hide it from the agent's thread
with obskit.span("mine"):
    agent.start(); wait_until(started)
sys.stdin.readline()
"""
    cloud.turns.append(turn("WALL", "0.1s"))
    with start(START + code, environ) as program:
        eventually(lambda: len(cloud.creates) == 2, 30)
        out, _ = program.communicate("end\n", timeout=20)
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["mine"]
    assert not {"b3", "x-b3-traceid", "traceparent"} & cloud.creates[0].headers.keys()


def test_importing_it_imports_nothing_of_googles():
    done = run("import sys, obskit.profiling.google_agent; print('google' in sys.modules)", dict(os.environ))
    assert done.stdout == "False\n"
