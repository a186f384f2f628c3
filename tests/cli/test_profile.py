"""`obskit profile`: folded stacks and a flame graph of a file, a folder or a running process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import pytest

from obskit.base.pprof import Location, Profile, Sample, ValueType, encode

COUNT, CPU, WALL = ValueType("samples", "count"), ValueType("cpu", "nanoseconds"), ValueType("wall", "nanoseconds")
MAIN = Location("<module>", "/srv/app.py", 1, 9)
ORDERS, ITEMS = Location("orders", "/srv/views;1.py", 20, 21), Location("Shop.items", "C:/srv/shop.py", 1, 2)


def write(folder: Path, kind: ValueType, name: str, seconds: int = 1) -> Path:
    samples = [
        Sample((ORDERS, MAIN), (3, 3 * seconds * 10**9), (("thread", "MainThread"), ("http.route", "/orders/<id>"))),
        Sample((ORDERS._replace(line=30), MAIN), (1, seconds * 10**9), (("http.route", "/orders/<id>"),)),
        Sample((ITEMS, MAIN), (1, seconds * 10**9), (("thread", "T&1"),)),
    ]
    profile = Profile((COUNT, kind), samples, kind, 10_000_000, 1, 10_000_000_000)
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(encode(profile))
    return path


def obskit(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OBSKIT_", "OTEL_", "PYTHON"))}
    command = [sys.executable, "-m", "obskit", "profile", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def titles(path: Path) -> list[str]:
    """What hovering over the frames of a flame graph shows; fails where it is no XML or needs other files."""
    text = path.read_text()
    assert text.count("http") == text.count("http.") + text.count('xmlns="http://www.w3.org/2000/svg"')
    assert "<script" not in text
    return [one.text or "" for one in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}title")]


def test_a_file_becomes_folded_stacks_and_a_flame_graph(tmp_path: Path) -> None:
    path = write(tmp_path, CPU, "x.pprof.gz")
    printed = "cpu: 5.000 s in 1 profile: wrote profile-cpu.folded and profile-cpu.svg\n"
    assert obskit(path, cwd=tmp_path) == (0, printed, "")
    assert (tmp_path / "profile-cpu.folded").read_text() == (
        "<module> (app.py);Shop.items (shop.py) 1000000000\n<module> (app.py);orders (views:1.py) 4000000000\n"
    )
    assert sorted(titles(tmp_path / "profile-cpu.svg")) == [
        "<module> (app.py): 5.000 s, 100.00 %",
        "Shop.items (shop.py): 1.000 s, 20.00 %",
        "all: 5.000 s, 100.00 %",
        "orders (views;1.py): 4.000 s, 80.00 %",
    ]


def test_a_folder_is_added_up_by_endpoint(tmp_path: Path) -> None:
    write(tmp_path / "p", CPU, "a-cpu-1.pprof.gz")
    write(tmp_path / "p", CPU, "a-cpu-2.pprof.gz", seconds=2)
    write(tmp_path / "p", WALL, "a-wall-1.pprof.gz")
    (tmp_path / "p" / ".a-cpu-3.pprof.gz.part").write_bytes(b"half")
    status, printed, _ = obskit("p", "--by", "endpoint", "--output", "shown", cwd=tmp_path)
    assert (status, printed) == (0, "cpu: 15.000 s in 2 profiles: wrote shown.folded and shown.svg\n")
    lines = (tmp_path / "shown.folded").read_text().splitlines()
    assert "/orders/<id>;<module> (app.py);orders (views:1.py) 12000000000" in lines
    assert "(none);<module> (app.py);Shop.items (shop.py) 3000000000" in lines
    assert "/orders/<id>: 12.000 s, 80.00 %" in titles(tmp_path / "shown.svg")


def test_type_and_standard_output_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path / "p", WALL, "a-wall-1.pprof.gz")
    status, printed, _ = obskit("p", "--type", "wall", "--by", "thread", "--output", "-", cwd=tmp_path)
    assert status == 0
    assert printed.splitlines()[-1] == "T&1;<module> (app.py);Shop.items (shop.py) 1000000000"
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", 'a" onclick="x', "\x00\x1b]", "\ud800", "&amp;", "a\nb", "é" * 5000]
    samples = [Sample((Location(name, name, 1, 1),), (1,)) for name in names]
    profile = Profile((WALL,), samples, WALL, 1, 1, 1)
    (tmp_path / "x.pprof.gz").write_bytes(encode(profile))
    assert obskit("x.pprof.gz", cwd=tmp_path)[0] == 0
    assert len(titles(tmp_path / "profile-wall.svg")) == len(names) + 1
    assert len((tmp_path / "profile-wall.folded").read_text().splitlines()) == len(names)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="another process's environment is read from /proc")
@pytest.mark.parametrize("in_the_way", ["", "a pipe", "a link"])
def test_a_running_process_is_asked_for_a_profile_now(in_the_way: str, tmp_path: Path) -> None:
    """Its next regular profile is due within hours."""
    code = """
import obskit, sys, threading
obskit.init()
threading.Thread(target=sys.stdin.read, daemon=True).start()
print("on", flush=True)
def compute():
    while True: sum(range(1000))
compute()
"""
    environment = {
        **os.environ,
        "OBSKIT_EXPORTER": "none",
        "OBSKIT_LOGS": "off",
        "OBSKIT_PROFILER_OUTPUT": "profiles",
        "OBSKIT_PROFILER_DURATION": "0.1",
        "OBSKIT_PROFILER_INTERVAL": "80000",
    }
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"on\n"
            put(in_the_way, tmp_path / "profiles" / f".{process.pid}.request")
            status, printed, errors = obskit(process.pid, "--seconds", "1", cwd=tmp_path)
        finally:
            process.kill()
    assert (status, errors) == (0, "")
    assert printed.startswith("cpu: ")
    assert any(title.startswith("compute (<string>): ") for title in titles(tmp_path / "profile-cpu.svg"))
    assert not list((tmp_path / "profiles").glob(".*"))


def put(what: str, path: Path) -> None:
    """Put something other than a file where the process is to be asked."""
    path.parent.mkdir(exist_ok=True)
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a link":
        path.symlink_to("/dev/full")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing"], 2, "'nothing' is not a file, a folder or a process id"),
        (["."], 1, ". has no profiles (*.pprof.gz)"),
        ([".", "--type", "heap"], 1, ". has no heap profiles (*.pprof.gz)"),
        ([".", "--type", "gpu"], 2, "--type: got 'gpu'; give one of cpu, wall, heap"),
        ([".", "--by", "user"], 2, "--by: got 'user'; give one of total, endpoint, thread"),
        ([".", "--seconds", "long"], 2, "--seconds: give a number from 0.1 to 600"),
        (["bad.pprof.gz"], 1, "bad.pprof.gz: not a pprof profile (wire type "),
        (["4194305"], 1, "there is no process 4194305"),
        (["OURS"], 1, "the environment of process OURS has no OBSKIT_PROFILER_OUTPUT: name its --folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, arguments, status, message) -> None:
    (tmp_path / "bad.pprof.gz").write_bytes(b"hello, world")
    os.mkfifo(tmp_path / "orders-wall-1.1.pprof.gz")  # no profile, and nothing to wait for
    own = str(os.getpid())
    found, printed, errors = obskit(*(argument.replace("OURS", own) for argument in arguments), cwd=tmp_path)
    assert (found, printed) == (status, "")
    assert errors.startswith(f"obskit profile: {message.replace('OURS', own)}")
    assert errors.count("\n") == 1


def test_without_an_argument_it_says_what_is_missing(tmp_path: Path) -> None:
    status, printed, errors = obskit(cwd=tmp_path)
    assert (status, printed, errors.count("\n")) == (2, "", 1)
    assert "WHAT" in errors


def test_profiles_of_a_folder_are_served_on_the_collectors_page_until_ctrl_c(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "profiles", CPU, f"a-cpu-{number}.pprof.gz", seconds=number + 1)
    command = [sys.executable, "-m", "obskit", "profile", "profiles/", "--serve", "--by", "endpoint"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline() == "Ctrl-C ends\n"
        with urllib.request.urlopen(url) as answer:
            page = answer.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert "15 s in 2 profiles" in page
    assert "/orders/&lt;id&gt;: 12 s, 80.0 %" in page
