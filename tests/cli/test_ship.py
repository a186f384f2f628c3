"""``COMMAND | obskit ship``: what goes through is unchanged, and its lines are in a collector."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from obskit.collector.server import CollectorServer
from tests.collector.conftest import client_of
from tests.export.receiver import clean_environ, eventually

SHIP = [sys.executable, "-m", "obskit", "ship"]


@pytest.fixture
def collector():
    with CollectorServer() as server:
        yield server


def ship(data, url, *flags):
    command = [*SHIP, "--collector", url, *flags]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, env=clean_environ())


def stored(server):
    return client_of(server).get("/api/obskit/v1/lines?limit=1000").json["lines"]


def test_output_goes_through_unchanged_and_its_lines_are_stored(collector):
    data = b"""\x1b[31mERROR\x1b[0m no stock\r
Traceback (most recent call last):
  File "a.py", line 1
KeyError: 'tea'
{"severity": "WARNING", "message": "slow", "time": "2020-01-31T14:00:00Z", "cart": 7}
\xff\x00
the end"""
    done = ship(data, collector.url, "--service", "app")
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")
    found = stored(collector)
    assert [(line["severity"], line["message"].splitlines()[0]) for line in found] == [
        ("WARNING", "slow"),
        ("ERROR", "ERROR no stock"),
        ("DEFAULT", "\ufffd\0"),
        ("DEFAULT", "the end"),
    ]
    assert found[1]["message"].endswith("KeyError: 'tea'")
    assert {line["service"] for line in found} == {"app"}
    assert found[0]["fields"]["cart"] == 7


def test_a_line_is_stored_while_the_program_goes_on(collector):
    command = [*SHIP, "--collector", collector.url, "--service", "app"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environ()) as process:
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        assert eventually(lambda: stored(collector))[0]["message"] == "one"
        process.send_signal(signal.SIGINT)  # Ctrl-C goes to the whole pipe
        process.stdin.write(b"last words\n")
        process.stdin.close()
        assert process.wait(30) == 0
    assert [line["message"] for line in stored(collector)] == ["one", "last words"]


def test_without_a_collector_output_still_goes_through_and_the_loss_is_said():
    data = b"line\n" * 1000
    done = ship(data, "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, data)
    assert b"1000 of 1000 lines were not delivered" in done.stderr


def test_a_reader_that_leaves_ends_it(collector):
    command = [*SHIP, "--collector", collector.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environ()) as process:
        process.stdout.close()
        process.stdin.write(b"a\n")
        process.stdin.flush()
        assert process.wait(30) == -signal.SIGPIPE


def test_a_long_line_and_many_lines(collector):
    data = b"x" * 700_000 + b"\n" + b"".join(b'{"message": "%d"}\n' % number for number in range(2000))
    done = ship(data, collector.url)
    assert done.stdout == data
    parts = client_of(collector).get("/api/obskit/v1/lines?q=xxx").json["lines"]
    assert sum(len(line["message"]) for line in parts) == 700_000
    assert f"obskit_lines_stored {2000 + len(parts)}\n" in client_of(collector).get("/prometheus").text


def test_a_bad_url_is_status_2():
    done = ship(b"", "nowhere")
    assert done.returncode == 2
    assert b"without a path: got 'nowhere'" in done.stderr
