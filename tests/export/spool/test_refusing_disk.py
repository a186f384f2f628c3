"""Disks that are full, read-only, forbidden or gone: one warning, counted, tried again, and never an exception."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from obskit.export.spool.spool import Spool
from tests.export.receiver import eventually
from tests.export.spool.disk import crash, needs_mounts, new_spool, place, python, read, segments

USE = """
folder = Path(sys.argv[1])
spool = Spool(folder, "d", 400_000, 3600.0)
def append(number):
    return spool.append([b"%06d" % number, b"." * 990])
def until_again():
    end = time.monotonic() + 10
    while not append(999_999):
        assert time.monotonic() < end
        time.sleep(0.02)
"""

FULL = (
    USE
    + """
stored = [number for number in range(100) if append(number)]
hog = os.open(folder / "hog", os.O_CREAT | os.O_WRONLY)
try:
    while os.write(hog, b"." * 512): pass
except OSError as error:
    print(error.errno)
more = [number for number in range(100, 300) if append(number)]
print(len(stored), len(more) < 50, spool.refused == 2 * (200 - len(more)))
os.ftruncate(hog, 0)
until_again()
found = [int(items[0]) for items in read(spool)]
print(found == [*stored, *more, 999_999], spool.own.waiting, spool.own.corrupt_bytes)
spool.close()
"""
)


def test_a_full_disk_refuses_and_is_used_again_when_it_has_room(tmp_path: Path) -> None:
    needs_mounts()
    done = python(FULL, tmp_path, before=f"mount -t tmpfs -o size=512k tmpfs {tmp_path}")
    assert done.stdout == "28\n100 True True\nTrue 0 0\n", done.stderr
    [warning, recovery] = done.stderr.splitlines()
    assert warning.startswith(f"WARNING the spool in {tmp_path} cannot be used now (")
    assert recovery == f"INFO the spool in {tmp_path} can be used again"


def test_the_last_of_a_disk_is_left_to_the_application(tmp_path: Path) -> None:
    needs_mounts()
    code = USE + "print(append(1), [path for path in folder.rglob('*.seg')], spool.refused)"
    done = python(code, tmp_path, before=f"mount -t tmpfs -o size=48k tmpfs {tmp_path}")
    assert done.stdout == "None [] 2\n"
    assert "left for others" in done.stderr


READ_ONLY = (
    USE
    + """
before = Spool(folder, "d", 400_000, 3600.0)
before.append([b"left"])
before.close()
assert append(1)
spool._held.finish()  # a disk with a file open for writing cannot be made read-only
os.system(f"mount -o remount,ro {folder}")
print(append(2), spool.next(), spool.adopt(), spool.own.waiting, spool.refused)
fresh = Spool(folder, "d", 400_000, 3600.0)
print(fresh.append([b"x"]), fresh.adopt(), fresh.next(), fresh.refused)
fresh.close()
os.system(f"mount -o remount,rw {folder}")
until_again()
print([int(items[0]) for items in read(spool)], spool.adopt(), read(spool))
spool.close()
"""
)


def test_a_read_only_disk_keeps_what_it_has_until_it_can_be_written(tmp_path: Path) -> None:
    needs_mounts()
    done = python(READ_ONLY, tmp_path, before=f"mount -t tmpfs -o size=2m tmpfs {tmp_path}")
    assert done.stdout == "None None 0 2 2\nNone 0 None 1\n[1, 999999] 1 [[b'left']]\n", done.stderr
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["WARNING", "WARNING", "INFO"]
    assert done.stderr.count("Read-only file system") == 2, "one for each spool"


def test_what_cannot_be_marked_on_disk_is_remembered_but_another_process_delivers_it_again(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    records = [spool.append([b"%d" % number]) for number in range(4)]
    [file] = segments(tmp_path)
    read_only = os.open(file, os.O_RDONLY)
    os.dup2(read_only, records[0].segment._file)
    os.close(read_only)
    assert spool.acknowledge(records[2])
    assert read(spool) == [[b"0"], [b"1"], [b"3"]]
    assert (spool.own.settled, spool.own.waiting) == (4, 0)
    crash(spool)
    other = new_spool(tmp_path)
    assert other.adopt() == 4
    other.close()


FORBIDDEN = (
    USE
    + """
inside = Path("inside")
inside.mkdir()
if os.geteuid() == 0:
    os.chown(".", 65534, 65534)
    os.chown(inside, 65534, 65534)
    os.setuid(65534)
inside.chmod(0o500)
spool = Spool(inside / "spool", "d", 400_000, 3600.0)
print(append(1), spool.adopt(), spool.next(), spool.refused)
inside.chmod(0o700)
until_again()
print(len(read(spool)))
append(1)
[place] = (inside / "spool").iterdir()
place.chmod(0)
print(bool(append(2)), spool.adopt(), len(read(spool)))
spool.close()
"""
)


def test_a_forbidden_folder_is_used_once_it_is_allowed(tmp_path: Path) -> None:
    done = python("os.chdir(sys.argv[1])\n" + FORBIDDEN, tmp_path)
    assert done.stdout == "None 0 None 2\n1\nTrue 0 2\n", done.stderr
    assert done.stderr.count("Permission denied") == 2
    place(tmp_path / "inside").chmod(0o700)


SHORT = (
    """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10_500, 10_500))  # the write that crosses it is cut short
"""
    + USE
    + """
stored = [number for number in range(20) if append(number)]
until_again()
print(len(stored), spool.refused >= 20, [int(items[0]) for items in read(spool)] == [*stored, 999_999])
spool.append([b"left"])
spool._held.let_go()
spool = Spool(folder, "d", 400_000, 3600.0)
print(spool.adopt(), read(spool), spool.adopted.corrupt_bytes)
spool.close()
"""
)


def test_what_a_short_write_left_is_no_record(tmp_path: Path) -> None:
    done = python(SHORT, tmp_path)
    assert done.stdout == "10 True True\n1 [[b'left']] 0\n", done.stderr


def test_a_folder_that_somebody_removes_is_made_again_and_its_items_count_as_evicted(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    spool._segment_bytes = 100
    spool.append([b"one", b"two"])
    spool.append([b"." * 100])
    shutil.rmtree(tmp_path / "spool")
    eventually(lambda: spool.append([b"three"]))
    assert (spool.own.evicted, spool.own.waiting) == (3, 1)
    assert read(spool) == [[b"three"]]
    spool.close()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("not ours")
    spool = new_spool(tmp_path)
    assert (spool.append([b"x"]), spool.adopt(), spool.next()) == (None, 0, None)
    spool.close()
    assert (tmp_path / "spool").read_text() == "not ours"


def test_a_second_try_within_the_same_second_does_not_touch_the_disk(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("not ours")
    spool = new_spool(tmp_path)
    spool.append([b"x"])
    (tmp_path / "spool").unlink()
    spool._try_again += 3600
    assert spool.append([b"x", b"y"]) is None
    assert spool.refused == 3
    assert not (tmp_path / "spool").exists()


FEW = """
import resource
spool = Spool(Path(sys.argv[1]), "d", 1 << 20, 3600.0)
assert spool.append([b"1"])
spool._held.finish()
hogs = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True: hogs.append(os.dup(0))
except OSError: pass
print(spool.next(), spool.append([b"2"]), spool.adopt(), spool.own.waiting)
for _ in range(9):  # each step of a first append fails once
    late = Spool(Path(sys.argv[1]), "d", 1 << 20, 3600.0)
    last = late.append([b"late"])
    late.close()
    os.close(hogs.pop())
for hog in hogs: os.close(hog)
print(read(spool), bool(last), spool.adopt() > 0, {item for [item] in read(spool)})
spool.close()
print(list(Path(sys.argv[1]).glob("*/*")))  # no directory without a purpose is left
"""


def test_too_few_file_descriptors_are_trouble_for_a_while(tmp_path: Path) -> None:
    done = python(FEW, tmp_path / "spool")
    assert done.stdout == "None None 0 1\n[[b'1']] True True {b'late'}\n[]\n", done.stderr


@pytest.mark.parametrize("sync", [False, True])
def test_sync_brings_each_record_to_the_disk_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("obskit.export.spool.segment._sync", synced.append)
    monkeypatch.setattr(os, "fsync", synced.append)
    spool = Spool(tmp_path, "d", 1 << 20, 3600.0, sync=sync)
    spool.append([b"1"])
    spool.append([b"2"])
    assert len(synced) == (5 if sync else 0), "three directories of a new file, and two records"
    spool.close()


def test_what_could_not_be_synced_is_not_there_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    spool = new_spool(tmp_path, sync=True)
    assert spool.append([b"good"])
    monkeypatch.setattr("obskit.export.spool.segment._sync", fail)
    assert spool.append([b"told to be refused"]) is None
    crash(spool)
    assert new_spool(tmp_path).adopt() == 1


def test_a_file_system_without_locks_is_refused_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("obskit.export.spool.directory.try_lock", fail)
    spool = new_spool(tmp_path)
    assert spool.append([b"x"]) is None
    assert list(place(tmp_path).iterdir()) == []
