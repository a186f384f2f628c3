"""`obskit run -- COMMAND`: a program that was not changed is observed, and otherwise behaves as it would alone."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from obskit.collector.server import CollectorServer

PYTHON = sys.executable
RUN = [PYTHON, "-Im", "obskit", "run", "--"]  # isolated: the sitecustomize of a test is for the command only


def environment(**extra):
    foreign = ("OBSKIT_", "OTEL_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "OBSKIT_EXPORTER": "none", "OBSKIT_LOGS": "off", **extra}


def outcome(command, cwd, **extra):
    """Return what is seen of a command from outside: its status (negative: a signal), output and errors."""
    done = subprocess.run(command, cwd=cwd, env=environment(**extra), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def collector():
    with CollectorServer() as server:
        yield server


def services(collector):
    with urllib.request.urlopen(f"{collector.url}/api/v2/services") as answer:
        return json.load(answer)


CALL = "import os, urllib.request; urllib.request.urlopen(os.environ['TARGET']).read()\n"


@pytest.mark.parametrize(
    ("file", "arguments", "service"),
    [
        ("shop.py", ["shop.py"], "shop"),
        ("store.py", ["-m", "store", "-m", "x"], "store"),
        ("kiosk.py", ["-Bmkiosk", "x"], "kiosk"),
        ("stall/__main__.py", ["-m", "stall"], "stall"),
        ("mall/floor.py", ["-m", "mall.floor"], "floor"),
    ],
)
def test_an_unchanged_program_is_traced_under_its_own_name(file, arguments, service, collector, tmp_path):
    program = tmp_path / file
    program.parent.mkdir(exist_ok=True)
    program.write_text(CALL)
    extra = {"OBSKIT_EXPORTER": collector.url, "TARGET": f"{collector.url}/health"}
    assert outcome([*RUN, PYTHON, *arguments], tmp_path, **extra) == (0, "", "")
    assert service in services(collector)


def test_a_python_that_the_command_starts_is_traced_too(collector, tmp_path):
    (tmp_path / "inner.py").write_text(CALL)
    extra = {"OBSKIT_EXPORTER": collector.url, "TARGET": f"{collector.url}/health"}
    assert outcome([*RUN, "sh", "-c", f"true && {PYTHON} inner.py"], tmp_path, **extra) == (0, "", "")
    assert "inner" in services(collector)


@pytest.mark.parametrize(
    "command",
    [
        [PYTHON, "-c", "print('out'); import sys; print(sys.argv, file=sys.stderr); sys.exit(7)", "--", "-x", "--json"],
        [PYTHON, "-c", "import sys; print(sys.path, sys.argv, __name__)"],
        [PYTHON, "-c", "1/0"],
        [PYTHON, "-c", "import sys; sys.exit('goodbye')"],
        [PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"],
        [PYTHON, "-c", "import os; os._exit(3)"],
        [PYTHON, "-c", "import signal as s; print([s.getsignal(n) for n in s.valid_signals()])"],
        [PYTHON, "-Ic", "import sys; print(sys.flags.isolated, sys.path)"],
        [PYTHON, "nowhere.py"],
        ["sh", "-c", "kill -KILL $$"],
        ["sh", "-c", "yes | head -1; echo $?"],
        ["sh", "-c", "trap"],
        ["cat", "/proc/self/status/nothing"],
        ["sh", "-c", "printf '%s,' \"$@\"", "0", "--", "a b", ""],
    ],
    ids=lambda command: " ".join(command[1:])[:60],
)
def test_status_output_and_errors_are_those_of_the_command_alone(command, tmp_path):
    assert outcome([*RUN, *command], tmp_path) == outcome(command, tmp_path)


def test_a_signal_reaches_the_program_itself(tmp_path):
    code = "import signal\nsignal.signal(15, lambda *_: exit(5))\nprint('up', flush=True)\nsignal.pause()"
    process = subprocess.Popen([*RUN, PYTHON, "-c", code], env=environment(), stdout=subprocess.PIPE, cwd=tmp_path)
    with process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 5


def test_sigpipe_ends_the_command_as_it_would_alone(tmp_path):
    process = subprocess.Popen([*RUN, "yes"], env=environment(), stdout=subprocess.PIPE, cwd=tmp_path)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(20) == -signal.SIGPIPE


@pytest.mark.parametrize(
    "text",
    [
        "print('mine first')",
        "import sys; sys.path.append('added')",
        "raise ValueError('mine is broken')",
        "import no_such_module_anywhere",
    ],
)
def test_a_sitecustomize_that_exists_runs_as_it_would_alone(text, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(text)
    command = [PYTHON, "-c", "import sys, sitecustomize; print(sys.path, sitecustomize.__file__)"]
    extra = {"PYTHONPATH": str(tmp_path)}
    assert outcome([*RUN, *command], tmp_path, **extra) == outcome(command, tmp_path, **extra)


def test_obskit_starts_after_the_existing_sitecustomize(collector, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['OBSKIT_SERVICE'] = 'from-sitecustomize'")
    (tmp_path / "program.py").write_text(CALL)
    extra = {"OBSKIT_EXPORTER": collector.url, "TARGET": f"{collector.url}/health", "PYTHONPATH": str(tmp_path)}
    assert outcome([*RUN, PYTHON, "program.py"], tmp_path, **extra) == (0, "", "")
    assert "from-sitecustomize" in services(collector)


@pytest.mark.parametrize(
    "command",
    [["echo", "started"], ["sh", "-c", f"OBSKIT_SAMPLE_RATE=7 {PYTHON} -c 'print(1)'"]],
    ids=["here", "there"],
)
def test_a_bad_setting_is_one_line_and_status_2(command, tmp_path):
    extra = {"OBSKIT_SAMPLE_RATE": "7"} if command[0] == "echo" else {}
    status, out, err = outcome([*RUN, *command], tmp_path, **extra)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "OBSKIT_SAMPLE_RATE='7' must be" in err


def test_a_python_without_obskit_runs_its_program_and_says_so_in_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['obskit'] = None")
    status, out, err = outcome([*RUN, PYTHON, "-c", "print('ran')"], tmp_path, PYTHONPATH=str(tmp_path))
    assert (status, out, len(err.splitlines())) == (0, "ran\n", 1)
    assert "runs without obskit" in err


def test_a_command_that_cannot_run_is_one_line_and_status_1(tmp_path):
    status, out, err = outcome([*RUN, "no-such-command-anywhere"], tmp_path)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "no-such-command-anywhere" in err
