"""`obskit demo` as users run it: what it prints, and that nothing is left running however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")

MARK = "DEMO_TEST_MARK"
SUMMARY = {
    "requests": 8,
    "traces": 8,
    "spans": 70,
    "services": ["a", "b", "c", "d", "e"],
    "edges": [["a", "b"], ["a", "d"], ["a", "e"], ["b", "c"]],
}


def marked_command(folder: Path, mark: str) -> list[str]:
    """Return the command of a process with the mark; nothing for another, or one that ended meanwhile."""
    try:
        if mark.encode() in (folder / "environ").read_bytes():
            return (folder / "cmdline").read_text().split("\0")
    except OSError:
        pass
    return []


class Demo:
    """A running demo, and by a mark in the environment every process that descends from it."""

    def __init__(self, *options: str, prepare: str = "pass", **environment: str) -> None:
        self.mark = uuid.uuid4().hex
        code = f"import sys; {prepare}; from obskit.cli import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "demo", *options],
            env={**os.environ, MARK: self.mark, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def running(self) -> dict[str, int]:
        """Return the ids of the processes that are left, each by its example's module; the demo itself is `demo`."""
        folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
        commands = {int(folder.name): marked_command(folder, self.mark) for folder in folders}
        return {
            next((part for part in command if part.startswith("obskit.examples")), "demo"): number
            for number, command in commands.items()
            if command
        }

    def read_until(self, text: str) -> str:
        read = ""
        while text not in read:
            line = self.process.stdout.readline()
            assert line, f"ended before it printed {text!r}: {read}{self.process.stderr.read()}"
            read += line
        return read

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def assert_nothing_is_left(self) -> None:
        deadline = monotonic() + 15
        while self.running():
            assert monotonic() < deadline, f"still running: {self.running()}"
            sleep(0.02)


@contextmanager
def demo(*options: str, **keywords: str) -> Iterator[Demo]:
    started = Demo(*options, **keywords)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()
        for number in started.running().values():
            os.kill(number, signal.SIGKILL)


def test_two_at_once_print_one_json_object_each_and_one_that_loses_a_service_ends_and_names_it():
    foreign = {"OBSKIT_SAMPLE_RATE": "0", "OTEL_SDK_DISABLED": "true", "http_proxy": "http://127.0.0.1:1", "PORT": "1"}
    with demo("--once", "--json", **foreign) as one, demo("--json") as other:
        status, first, err = one.finish()
        one.assert_nothing_is_left()
        second = other.read_until("\n")
        os.kill(other.running()["obskit.examples.c"], signal.SIGKILL)
        other_status, rest, message = other.finish()
        other.assert_nothing_is_left()
    assert (status, err) == (0, "")
    addresses = [json.loads(line)["collector"] for line in (first, second)]
    assert [json.loads(line) for line in (first, second)] == [{**SUMMARY, "collector": url} for url in addresses]
    assert addresses[0] != addresses[1]
    assert (other_status, rest) == (1, "")
    assert "service c ended with status -9" in message


def test_it_shows_a_trace_and_goes_on_ordering_until_ctrl_c():
    with demo() as one:
        shown = one.read_until("Ctrl-C")
        collector = next(line.split()[-1] for line in shown.splitlines() if line.startswith("all of it"))
        api = f"{collector}/api/v2/traces?limit=100"
        deadline = monotonic() + 30
        while len(json.load(urllib.request.urlopen(api))) <= SUMMARY["traces"]:
            assert monotonic() < deadline, "no order came after the first ones"
            sleep(0.1)
        one.process.send_signal(signal.SIGINT)
        assert one.finish() == (0, "", "")
        one.assert_nothing_is_left()
    shown = shown.partition("all of it")[0]
    rows = [line.split()[:4] for line in shown.splitlines() if line.startswith("  ")]
    assert rows == [
        ["a", "server", "get", "/order/<dish>"],
        ["a", "client", "get", rows[1][3]],
        ["b", "server", "get", "/cook/<str:dish>"],
        ["b", "client", "get", rows[3][3]],
        ["c", "server", "get", "/ingredients/{dish}"],
        ["a", "client", "get", rows[5][3]],
        ["d", "server", "get", "/drink/<dish>"],
        ["d", "client", "select", rows[7][3]],
        ["a", "producer", "bill", rows[8][3]],
        ["e", "consumer", "enter", "bill"],
    ]


def test_its_questions_are_answered_by_their_links():
    with demo() as one:
        shown = one.read_until("Ctrl-C")
        slowest, pantry, kitchen = re.findall(r"\?\n  (http\S+)", shown)
        assert "/order/curry" in read(slowest.partition("?")[0])
        (detail,) = re.findall(r'<aside[^>]* id="span".*?</aside>', read(slowest), re.DOTALL)
        assert "SELECT name FROM bottles" in detail
        (beside,) = re.findall(r"beside the quickest: (\S+)", shown)
        assert " longer. " in read(beside)
        assert "bills" in read(f"{slowest.partition('/traces')[0]}/graph")
        lines = wait_for(pantry, "LookupError")
        assert "Traceback (most recent call last)" in lines
        assert "LookupError: nothing on the shelves for fugu" in lines
        assert "chop" in wait_for(kitchen, "chop").partition("Hottest lines")[2]


def read(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def wait_for(url: str, text: str) -> str:
    """Return a page once it has a text: lines and profiles come a little later than spans."""
    deadline = monotonic() + 40
    while text not in (page := read(url)):
        assert monotonic() < deadline, page
        sleep(0.2)
    return page


def test_killed_it_takes_its_services_along():
    with demo() as one:
        one.read_until("Ctrl-C")
        assert len(one.running()) == 6
        one.process.kill()
        one.assert_nothing_is_left()


def test_terminated_while_it_starts_it_leaves_nothing_and_says_that_it_was_stopped():
    with demo("--once") as one:
        deadline = monotonic() + 30
        while not any(name.startswith("obskit.examples") for name in one.running()):
            assert monotonic() < deadline
            sleep(0.02)
        one.process.send_signal(signal.SIGTERM)
        assert one.finish() == (1, "", "obskit demo: stopped before it was done\n")
        one.assert_nothing_is_left()


def test_a_service_that_does_not_come_up_is_named_with_what_it_said(tmp_path):
    (tmp_path / "bottle.py").write_text("raise RuntimeError('the bottle is broken')")
    with demo("--once", PYTHONPATH=str(tmp_path)) as one:
        status, out, err = one.finish()
        one.assert_nothing_is_left()
    assert (status, out) == (1, "")
    assert "service d ended with status 1" in err
    assert "the bottle is broken" in err


def test_spans_that_do_not_arrive_are_named_and_are_a_failure():
    quick = "import obskit.cli.demo_traces as t; t._TIMEOUT = 2.0; import obskit.cli.demo_services as s; "
    deaf = "made = s._environment; s._environment = lambda *a: {**made(*a), 'OBSKIT_DISABLE': 'httpx'}"
    with demo("--once", "--json", prepare=quick + deaf) as one:
        status, out, err = one.finish()
        one.assert_nothing_is_left()
    assert (status, out) == (1, "")
    assert "b 8 of 16" in err


def test_without_the_frameworks_it_says_what_to_install():
    with demo("--once", prepare="sys.modules.update(flask=None, httpx=None)") as one:
        status, out, err = one.finish()
    assert (status, out) == (1, "")
    assert err == "obskit demo: not installed: flask, httpx; run: pip install 'obskit[demo]'\n"
