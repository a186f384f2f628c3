"""Several processes: killed at any moment, forked, racing for what others left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obskit.export.spool.files import try_lock
from obskit.export.spool.spool import Spool
from tests.export.spool.disk import new_spool, place, python, read, segments, taken

KILL = """
import random, signal
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
random.seed()

def work(pipe):
    # Tells of each step after the call has returned; every third batch is acknowledged, as after a delivery.
    spool = Spool(folder, "d", 1 << 28, 3600.0)
    spool._segment_bytes = 20_000
    for number in range(1_000_000):
        record = spool.append([b"%d" % number, b"." * (number * 37 % 5000)])
        os.write(pipe, b"+%d\\n" % number)
        if number % 3 == 0:
            spool.acknowledge(record)
            os.write(pipe, b"-%d\\n" % number)

def murder():
    out, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        work(pipe)
    os.close(pipe)
    told = os.read(out, 1)
    time.sleep(random.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    with open(out, "rb") as stream:
        told += stream.read()
    os.waitpid(child, 0)
    return told.decode().split()

total = 0
for _ in range(rounds):
    steps = murder()
    stored, done = ([int(step[1:]) for step in steps if step[:1] == sign and step[1:]] for sign in "+-")
    spool = Spool(folder, "d", 1 << 28, 3600.0)
    spool.adopt()
    found = [int(items[0]) for items in read(spool)]
    assert found == sorted(set(found)), found
    # One step may have happened and not been told.
    assert set(stored) - set(done) - set(found) <= {number for number in stored[-1:] if number % 3 == 0}
    assert set(found) - set(stored) <= {stored[-1] + 1} and not set(found) & set(done)
    assert spool.adopted.corrupt == spool.adopted.corrupt_bytes == 0
    spool.close()
    total += len(stored)
assert not list(folder.glob("*/*"))
print(total)
"""


def test_what_append_accepted_survives_sigkill_at_any_moment(tmp_path: Path) -> None:
    done = python(KILL, tmp_path / "spool", 60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 600


FORK = """
import ctypes, select, signal
how = {"hooked": os.fork, "unhooked": ctypes.PyDLL(None).fork}[sys.argv[2]]  # uWSGI forks without Python's hooks
out, pipe = os.pipe()

def parent():
    spool = Spool(Path(sys.argv[1]), "d", 1 << 24, 3600.0)
    record = spool.append([b"parent"])
    go_in, go = os.pipe()
    if how() == 0:
        os.read(go_in, 1)
        refused = spool.acknowledge(record)
        before = spool.own.taken
        assert spool.append([b"child"])
        assert spool.own.taken == 1 and not spool.acknowledge(record)
        os.write(pipe, b"%d%d" % (refused, before))
        os.write(pipe, b"ok")
        time.sleep(60)
    os.write(pipe, b"forked")
    os.write(go, b"!")
    time.sleep(60)

os.setpgid(0, 0)
first = os.fork()
if first == 0:
    parent()
try:
    assert os.read(out, 6) == b"forked"
    told = b""
    while len(told) < 4 and select.select([out], [], [], 30)[0]:
        told += os.read(out, 4)
    assert told == b"00ok", told
    spool = Spool(Path(sys.argv[1]), "d", 1 << 24, 3600.0)
    assert spool.adopt() == 0, "both live"
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert spool.adopt() == 1 and read(spool) == [[b"parent"]], "the child holds on to its own only"
    print("fine", flush=True)
finally:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
"""


@pytest.mark.parametrize("how", ["hooked", "unhooked"])
def test_a_forked_child_uses_a_directory_of_its_own_and_does_not_keep_its_parents_alive(
    tmp_path: Path, how: str
) -> None:
    done = python(FORK, tmp_path / "spool", how)
    assert done.stdout == "fine\n", done.stderr
    assert read_all(tmp_path) == [[b"child"]]


def read_all(folder: Path) -> list[list[bytes]]:
    spool = Spool(folder / "spool", "d", 1 << 24, 3600.0)
    spool.adopt()
    found = read(spool)
    spool.close()
    return found


HOOKS_CLOSE = """
spool = Spool(Path(sys.argv[1]), "d", 1 << 24, 3600.0)
spool.append([b"parent"])
def held():
    files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(sys.argv[1] in os.readlink(file) for file in files if os.path.exists(file))
assert held() == 2
if os.fork() == 0:
    os._exit(held())
print(os.waitstatus_to_exitcode(os.wait()[1]))
other = Spool(Path(sys.argv[1]), "d", 1 << 24, 3600.0)
print(other.adopt(), read(spool))
"""


def test_a_child_that_never_uses_the_spool_closes_its_parents_files_all_the_same(tmp_path: Path) -> None:
    done = python(HOOKS_CLOSE, tmp_path / "spool")
    assert done.stdout == "0\n0 [[b'parent']]\n", done.stderr


RACE = """
import json
spool = Spool(Path(sys.argv[1]), "d", 1 << 24, 3600.0)
rounds, children = 40, 3
won = []
for number in range(rounds):
    dead = Spool(Path(sys.argv[1]), "d", 1 << 24, 3600.0)
    dead.append([b"%d" % number])
    dead.close()
    out, pipe = os.pipe()
    gate, go = os.pipe()
    for _ in range(children):
        if os.fork() == 0:
            os.close(go)
            os.read(gate, 1)  # returns for all of them when the last writer is gone
            os.write(pipe, b"%d" % spool.adopt())
            assert len(read(spool)) == spool.adopted.taken
            os._exit(0)
    os.close(gate)
    os.close(go)
    assert {os.wait()[1] for _ in range(children)} == {0}
    won.append(os.read(out, 10).decode())
    os.close(out)
    os.close(pipe)
print(json.dumps(won))
"""


def test_of_processes_that_adopt_at_the_same_time_exactly_one_gets_a_directory(tmp_path: Path) -> None:
    done = python(RACE, tmp_path / "spool")
    assert done.returncode == 0, done.stderr
    assert {"".join(sorted(won)) for won in json.loads(done.stdout)} == {"001"}
    assert segments(tmp_path) == []


STORM = """
import json
folder, children, rounds = Path(sys.argv[1]), 4, 60
out = [os.pipe() for _ in range(children)]
for child in range(children):
    if os.fork() == 0:
        found = []
        for number in range(rounds):  # directories come and go while others look at them
            spool = Spool(folder, "d", 1 << 24, 3600.0)
            assert spool.append([b"%d-%d" % (child, number)])
            spool.adopt()
            found += [items[0].decode() for items in read(spool)] if number % 2 else []
            assert spool.refused == spool.adopted.corrupt_bytes == spool.adopted.evicted == 0
            spool.close()
        os.write(out[child][1], json.dumps(found).encode())
        os._exit(0)
found = []
for child in range(children):
    assert os.wait()[1] == 0
for receive, send in out:
    os.close(send)
    found += json.load(open(receive))
spool = Spool(folder, "d", 1 << 24, 3600.0)
while spool.adopt():
    found += [items[0].decode() for items in read(spool)]
print(len(found), len(set(found)), list(folder.glob("*/*")))
"""


def test_nothing_is_lost_or_doubled_while_processes_come_and_go(tmp_path: Path) -> None:
    done = python(STORM, tmp_path / "spool")
    assert done.stdout == "240 240 []\n", done.stderr


def test_only_so_many_directories_are_adopted_at_once(tmp_path: Path) -> None:
    for number in range(20):
        spool = new_spool(tmp_path)
        spool.append([b"%02d" % number])
        spool.close()
    spool = new_spool(tmp_path)
    assert spool.adopt() == 8
    assert spool.adopt() == 0, "each takes a file descriptor until it is empty"
    found = read(spool)
    assert (spool.adopt(), spool.adopted.taken) == (8, 16)
    found += read(spool)
    assert spool.adopt() == 4
    found += read(spool)
    assert sorted(found) == [[b"%02d" % number] for number in range(20)]
    spool.close()
    assert list(place(tmp_path).iterdir()) == []


def test_two_spools_of_one_process_do_not_adopt_each_other(tmp_path: Path) -> None:
    first, second = new_spool(tmp_path), new_spool(tmp_path)
    first.append([b"1"])
    second.append([b"2"])
    assert (first.adopt(), second.adopt()) == (0, 0)
    first.close()
    assert second.adopt() == 1
    assert read(second) == [[b"1"], [b"2"]]
    second.close()


def test_a_directory_that_another_process_removes_before_it_is_locked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_first(descriptor: int) -> bool:
        if not removed:
            [empty] = place(tmp_path).iterdir()
            empty.rmdir()
            removed.append(empty)
        return try_lock(descriptor)

    removed: list[Path] = []
    monkeypatch.setattr("obskit.export.spool.directory.try_lock", remove_first)
    spool = new_spool(tmp_path)
    assert spool.append([b"x"])
    assert [file.parent for file in segments(tmp_path)] != removed
    assert len(segments(tmp_path)) == 1
    spool.close()


def test_what_another_process_left_takes_no_disk_as_soon_as_the_last_of_it_is_done(tmp_path: Path) -> None:
    left = new_spool(tmp_path)
    for number in range(3):
        left.append([b"%d" % number])
    left.close()
    spool = new_spool(tmp_path)
    assert spool.adopt() == 3
    for _ in range(3):
        record = spool.next()
        assert record is not None
        assert spool.adopted.bytes == taken(tmp_path) > 0
        assert spool.acknowledge(record)
    assert (spool.adopted.bytes, segments(tmp_path), list(place(tmp_path).iterdir())) == (0, [], [])


def test_an_adopted_file_that_ends_in_garbage_is_done_with_its_last_readable_record_too(tmp_path: Path) -> None:
    left = new_spool(tmp_path)
    left.append([b"readable"])
    left.append([b"garbage soon"])
    [file] = segments(tmp_path)
    left.close()
    data = bytearray(file.read_bytes())
    data[-len(b"garbage soon") :] = b"x" * len(b"garbage soon")
    file.write_bytes(data)
    spool = new_spool(tmp_path)
    assert spool.adopt() == 2
    assert read(spool) == [[b"readable"]]
    assert (spool.adopted.corrupt, spool.adopted.waiting, spool.adopted.bytes, segments(tmp_path)) == (1, 0, 0, [])
