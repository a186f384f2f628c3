"""``obskit collector`` as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from obskit.cli.collector_flags import default_storage

PROGRAM = """
import argparse, sys
from obskit.cli import collector
parser = argparse.ArgumentParser(prog="obskit")
collector.add_parser(parser.add_subparsers(required=True))
args = parser.parse_args()
sys.exit(collector.run(args))
"""


def start(*args, **environ):
    """Runs the command, in memory unless told: its default is a file of the user's."""
    storage = () if environ or "--storage" in args else ("--storage", "memory")
    command = [sys.executable, "-c", PROGRAM, "collector", *storage, *args]
    pipe, merged = subprocess.PIPE, {**os.environ, **environ}
    return subprocess.Popen(command, env=merged, stdout=pipe, stderr=pipe, text=True)


def finish(*args, **environ):
    process = start(*args, **environ)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_serves_and_ends_well_on_a_signal(number, tmp_path):
    process = start("--port", "0", "--storage", f"sqlite:///{tmp_path}/x.db")
    try:
        line = process.stdout.readline()
        assert line.startswith(f"obskit collector keeps spans in {tmp_path}/x.db and listens on http://127.0.0.1:")
        with urllib.request.urlopen(line.split()[-1] + "/health", timeout=10) as response:
            assert response.status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_it_is_open_to_a_network_only_when_told_so(host):
    status, out, err = finish("--host", host, "--port", "0")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "every network interface; give --token" in err


@pytest.mark.parametrize(
    ("host", "flags", "reach"),
    [
        ("0.0.0.0", ["--open"], "every network interface: whoever"),
        ("0.0.0.0", ["--token", "t"], "every network interface: who knows the token"),
        ("127.0.0.1", [], None),
    ],
)
def test_it_says_who_can_reach_it(host, flags, reach):
    with start("--host", host, "--port", "0", *flags) as process:
        try:
            process.stdout.readline()
            process.terminate()
            out = process.stdout.read()
        finally:
            process.kill()
    assert (f"is open to {reach}" in out) if reach else not out


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--port", value) for value in ("x", "65536", "-1", "9" * 5000)),
        *(("--storage", value) for value in ("postgres://x", "")),
        *(
            ("--max-spans", "0"),
            ("--max-bytes", "x"),
            ("--max-age", "7w"),
            ("--sample-rate", "2"),
            ("--backup", "x.db"),
        ),
    ],
)
def test_bad_usage_is_status_2_and_one_line_which_names_the_flag(flag, value):
    status, out, err = finish(f"{flag}={value}")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert flag in err


def test_a_port_in_use_is_status_1_and_one_line_with_the_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, err = finish("--port", str(taken.getsockname()[1]))
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "choose another --port" in err


def test_a_storage_that_cannot_be_opened_is_status_1_and_one_line(tmp_path):
    status, _, err = finish("--port", "0", "--storage", f"sqlite:///{tmp_path}/nowhere/x.db")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "nowhere" in err


def test_it_copies_its_file_while_it_runs(tmp_path):
    storage = f"sqlite:///{tmp_path}/x.db"
    process = start("--port", "0", "--storage", storage, "--max-bytes", "1M", "--max-age", "7d")
    try:
        process.stdout.readline()
        for status, err in ((0, ""), (1, "exists")):
            done = finish("--storage", storage, "--backup", str(tmp_path / "copy.db"))
            assert (done[0], err in done[2]) == (status, True)
        status, _, err = finish("--port", "0", "--storage", storage)
        assert (status, "in use by another collector" in err) == (1, True)
    finally:
        process.kill()
        process.communicate()
    assert finish("--port", "0", "--storage", storage, "--max-spans", "0")[0] == 2


def test_unless_told_it_keeps_spans_in_the_users_state_folder(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    file = tmp_path / "state" / "obskit" / "collector.db"
    with start("--port", "0", **environ) as process:
        try:
            assert f"keeps spans in {file} and listens" in process.stdout.readline()
            assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
            status, out, err = finish("--port", "0", **environ)
            assert (status, out, len(err.splitlines())) == (1, "", 1)
            assert f"{file} is in use by another collector" in err
            assert finish("--backup", str(tmp_path / "copy.db"), **environ) == (0, "", "")
        finally:
            process.kill()
    assert (tmp_path / "copy.db").exists()


def test_a_relative_state_folder_does_not_count(tmp_path):
    assert default_storage({"XDG_STATE_HOME": str(tmp_path)}) == f"sqlite:///{tmp_path}/obskit/collector.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        for environ in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "state"}):
            assert default_storage(environ) == f"sqlite:///{tmp_path}/.local/state/obskit/collector.db"


def test_where_there_can_be_no_file_it_keeps_spans_in_memory_and_says_why(tmp_path):
    (tmp_path / "state").write_text("")
    with start("--port", "0", XDG_STATE_HOME=str(tmp_path / "state")) as process:
        try:
            assert "keeps spans in memory and listens" in process.stdout.readline()
            process.terminate()
            err = process.stderr.read()
        finally:
            process.kill()
    assert len(err.splitlines()) == 1
    assert "spans are kept in memory; name a file with --storage" in err
