"""Size and age: the oldest is lost first, counted once, by the process it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from obskit.export.spool.spool import Spool
from tests.export.spool.disk import crash, new_spool, read, segments, taken

LIMIT = 80_000


def fill(spool: Spool, first: int, last: int) -> None:
    """Append batches of about 1 kB and two items, whose first tells their number."""
    for number in range(first, last):
        assert spool.append([b"%06d" % number, b"." * 990])


def numbers(batches: list[list[bytes]]) -> list[int]:
    return [int(items[0]) for items in batches]


def test_nothing_is_on_disk_before_the_first_append(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    assert (spool.next(), spool.adopt()) == (None, 0)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_go_when_there_is_no_more_room(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, max_bytes=LIMIT)
    for number in range(300):
        fill(spool, number, number + 1)
        assert taken(tmp_path) <= LIMIT
    assert spool.own.bytes == taken(tmp_path)
    waiting = spool.own.waiting
    found = numbers(read(spool))
    assert found == list(range(300 - waiting // 2, 300))
    assert len(found) > 60, "most of the room is used"
    assert spool.own.evicted == 600 - waiting
    spool.close()


def test_what_another_process_evicts_is_counted_by_the_one_it_belongs_to(tmp_path: Path) -> None:
    old, new = new_spool(tmp_path, max_bytes=LIMIT), new_spool(tmp_path, max_bytes=LIMIT)
    fill(old, 0, 60)
    fill(new, 100, 150)
    assert taken(tmp_path) <= LIMIT
    found = numbers(read(old))
    assert found == list(range(60 - len(found), 60))
    assert (old.own.evicted, old.own.waiting) == (120 - 2 * len(found), 0)
    assert old.own.evicted > 60
    assert (new.own.evicted, new.adopted.taken) == (0, 0)
    assert numbers(read(new)) == list(range(100, 150))
    old.close()
    new.close()


def test_what_is_evicted_of_a_process_that_is_gone_is_counted_as_adopted(tmp_path: Path) -> None:
    gone = new_spool(tmp_path, max_bytes=LIMIT)
    fill(gone, 0, 60)
    crash(gone)
    spool = new_spool(tmp_path, max_bytes=LIMIT)
    fill(spool, 100, 150)
    assert spool.adopted.taken == 120
    assert spool.adopted.evicted > 60
    assert spool.own.evicted == 0
    found = numbers(read(spool))
    assert found == [*range(spool.adopted.evicted // 2, 60), *range(100, 150)]
    spool.close()


def test_a_batch_that_is_evicted_while_it_is_being_delivered_is_counted_once(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, max_bytes=LIMIT)
    fill(spool, 0, 20)
    record = spool.next()
    assert record is not None
    fill(spool, 20, 200)
    assert spool.acknowledge(record) is False
    assert spool.own.settled == 0
    assert spool.own.taken == spool.own.evicted + spool.own.waiting
    spool.close()


def test_a_file_evicted_by_another_process_while_it_is_read_is_counted_once(tmp_path: Path) -> None:
    old, new = new_spool(tmp_path, max_bytes=LIMIT), new_spool(tmp_path, max_bytes=LIMIT)
    fill(old, 0, 30)
    record = old.next()
    fill(new, 100, 170)
    assert old.acknowledge(record) is True
    found = [0, *numbers(read(old))]
    assert old.own.evicted + 2 * len(found) == 60
    assert old.own.waiting == 0
    old.close()
    new.close()


def test_many_crashed_processes_leave_no_more_than_the_limit(tmp_path: Path) -> None:
    for number in range(60):
        spool = new_spool(tmp_path, max_bytes=LIMIT)
        fill(spool, number, number + 1)
        crash(spool)
    assert len(segments(tmp_path)) <= LIMIT // 4096, "a small file takes a block of the disk"
    assert spool.refused == 0


def test_processes_that_fill_the_room_with_open_files_leave_none_for_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spools = [new_spool(tmp_path, max_bytes=LIMIT) for _ in range(9)]
    assert [bool(spool.append([b"x"])) for spool in spools] == [True] * 8 + [False]
    assert "other processes are using its 80000 bytes" in caplog.text
    for spool in spools:
        spool.close()


def test_a_batch_that_takes_more_than_half_of_the_room_is_refused_and_costs_nothing_else(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, max_bytes=LIMIT)
    fill(spool, 0, 20)
    assert spool.append([b"." * (LIMIT // 2)]) is None
    assert spool.append([b"." * (LIMIT // 2 - 100)]) is not None
    assert spool.refused == 1
    assert len(read(spool)) == 21
    spool.close()


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1.8e9
        monkeypatch.setattr("time.time", lambda: self.now)


def test_what_is_too_old_is_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    spool = new_spool(tmp_path, max_age=60.0)
    fill(spool, 0, 3)
    clock.now += 61
    fill(spool, 3, 5)
    assert numbers(read(spool)) == [3, 4]
    assert (spool.own.expired, spool.own.waiting) == (6, 0)
    spool.close()


def test_old_files_go_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    gone, spool = new_spool(tmp_path, max_age=60.0), new_spool(tmp_path, max_age=60.0)
    fill(gone, 0, 3)
    crash(gone)
    spool._segment_bytes = 5000
    fill(spool, 0, 6)
    assert spool.adopt() == 6
    clock.now += 61
    assert spool.adopt() == 0
    assert (spool.adopted.expired, spool.adopted.waiting) == (6, 0)
    assert spool.own.expired == 8
    assert numbers(read(spool)) == []
    assert spool.own.expired == 12
    spool.close()


def test_a_clock_that_is_set_back_neither_loses_nor_reorders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    spool = new_spool(tmp_path, max_bytes=LIMIT, max_age=60.0)
    fill(spool, 0, 30)
    clock.now -= 1000
    fill(spool, 30, 60)
    assert numbers(read(spool)) == list(range(60))
    spool.close()


def test_the_same_batch_is_returned_until_it_is_acknowledged(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    fill(spool, 0, 2)
    first = spool.next()
    again = spool.next()
    assert first.items == again.items
    assert spool.acknowledge(again) is True
    assert spool.acknowledge(first) is False, "done already"
    assert numbers(read(spool)) == [1]
    spool.close()


def test_destinations_are_kept_apart(tmp_path: Path) -> None:
    names = ["http://a:9411/api/v2/spans", "http://a:9411/api/v2.spans", "otel:x", "../../etc", "\udc80" * 300, ""]
    for name in names:
        spool = Spool(tmp_path / "spool", name, 1 << 20, 60.0)
        assert spool.append([name.encode(errors="surrogatepass")])
        spool.close()
    for name in names:
        spool = Spool(tmp_path / "spool", name, 1 << 20, 60.0)
        assert spool.adopt() == 1
        assert read(spool) == [[name.encode(errors="surrogatepass")]]
        spool.close()
    assert len(list((tmp_path / "spool").iterdir())) == len(names)
