"""Damaged files: what is not damaged is read, what is lost is counted, and nothing is made up."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from obskit.export.spool.segment import DONE, HEADER, STATE, pack
from obskit.export.spool.spool import Spool
from tests.export.spool.disk import crash, new_spool, read, segments

BATCHES = [[b"a" * 3], [b"bb", b"b"], [b"c" * 40, b"c", b"c"], [b"\x00", b""]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int], str]:
    """The bytes of a segment with BATCHES, where each record begins and the last ends, and the directory's name."""
    folder = tmp_path_factory.mktemp("written")
    spool = new_spool(folder)
    offsets = [spool.append(batch).offset for batch in BATCHES]
    [file] = segments(folder)
    data = file.read_bytes()
    crash(spool)
    return data, [*offsets, len(data)], file.parent.name


def survivors(offsets: list[int], damaged: int) -> list[list[bytes]]:
    return [
        batch
        for batch, start, end in zip(BATCHES, offsets[:-1], offsets[1:], strict=True)
        if not start <= damaged < end
    ]


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def left_behind(folder: Path, data: bytes, directory: str) -> Spool:
    """A spool that has adopted ``data`` from a process that is gone."""
    spool = new_spool(folder)
    spool.append([b"makes the folders"])
    spool.close()
    [old] = segments(folder)
    old.unlink()
    old.parent.rename(old.parent.parent / directory)
    (old.parent.parent / directory / old.name).write_bytes(data)
    spool = new_spool(folder)
    spool.adopt()
    return spool


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_costs_the_process_that_wrote_it_one_record_and_it_knows_the_number_of_items(
    tmp_path: Path, written: tuple[bytes, list[int], str], mask: int
) -> None:
    data, offsets, _ = written
    for at in range(len(data)):
        spool = new_spool(tmp_path / str(at))
        for batch in BATCHES:
            spool.append(batch)
        [file] = segments(tmp_path / str(at))
        with file.open("r+b") as stream:
            stream.seek(at)
            before = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([before ^ mask]))
        found = read(spool)
        spared = at in (start + STATE for start in offsets) and mask != DONE[0]
        assert found == (BATCHES if spared else survivors(offsets, at)), at
        lost = sum(map(len, BATCHES)) - sum(map(len, found))
        assert (spool.own.corrupt, spool.own.waiting) == (lost, 0), at
        spool.close()
        assert segments(tmp_path / str(at)) == []


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_costs_one_record_of_an_adopted_file(
    tmp_path: Path, written: tuple[bytes, list[int], str], mask: int
) -> None:
    data, offsets, directory = written
    for at in range(len(data)):
        spool = left_behind(tmp_path / str(at), flipped(data, at, mask), directory)
        found = read(spool)
        state = at in (start + STATE for start in offsets)
        assert found == (BATCHES if state and mask != DONE[0] else survivors(offsets, at)), at
        counts = spool.adopted
        assert counts.waiting == 0
        assert counts.settled == sum(map(len, found))
        assert bool(counts.corrupt_bytes) == (not state), at
        in_payload = any(start + HEADER <= at < end for start, end in pairwise(offsets))
        assert counts.corrupt == (sum(map(len, BATCHES)) - counts.settled if in_payload else 0), at
        spool.close()
        assert segments(tmp_path / str(at)) == []


def test_a_file_cut_anywhere_loses_only_the_records_that_are_not_complete(
    tmp_path: Path, written: tuple[bytes, list[int], str]
) -> None:
    data, offsets, directory = written
    for length in range(len(data)):
        spool = left_behind(tmp_path / str(length), data[:length], directory)
        assert read(spool) == [batch for batch, end in zip(BATCHES, offsets[1:], strict=True) if end <= length]
        assert spool.adopted.corrupt_bytes == 0, "the end of a write that was cut off is not damage"
        spool.close()
        assert segments(tmp_path / str(length)) == []


def test_a_file_that_is_cut_while_its_process_lives_costs_the_items_that_are_gone(tmp_path: Path) -> None:
    for length in range(0, 200, 7):
        folder = tmp_path / str(length)
        spool = new_spool(folder)
        for batch in BATCHES:
            spool.append(batch)
        [file] = segments(folder)
        os.truncate(file, length)
        found = read(spool)
        assert found == BATCHES[: len(found)]
        assert (spool.own.settled, spool.own.waiting) == (sum(map(len, found)), 0)
        assert spool.own.corrupt == sum(map(len, BATCHES)) - spool.own.settled
        spool.append([b"after"])
        assert read(spool) == [[b"after"]], "what follows the hole is found"
        spool.close()


def test_an_item_that_looks_like_a_record_is_never_taken_for_one(
    tmp_path: Path, written: tuple[bytes, list[int], str]
) -> None:
    data, _, _ = written
    spool = new_spool(tmp_path)
    spool.append([data, pack([b"forged"], 2**41, 0), b"x"])
    [file] = segments(tmp_path)
    with file.open("r+b") as stream:
        stream.write(b"?")  # so that the reader looks for the next record
    assert read(spool) == []
    assert (spool.own.corrupt, spool.own.corrupt_bytes) == (3, file.stat().st_size)


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 5000, b"\xf0ob1" * 3000, os.urandom(200_000)])
def test_a_file_of_garbage_is_counted_and_removed(tmp_path: Path, garbage: bytes) -> None:
    spool = left_behind(tmp_path, garbage, "1-0123456789abcdef")
    assert spool.next() is None
    assert (spool.adopted.taken, spool.adopted.corrupt_bytes) == (0, len(garbage))
    spool.close()
    assert segments(tmp_path) == []


def test_records_behind_a_lot_of_garbage_are_found(tmp_path: Path, written: tuple[bytes, list[int], str]) -> None:
    data, _, directory = written
    for length in (1, *range((1 << 16) - 8, (1 << 16) + 2), 300_000):  # also across the reader's chunks
        folder = tmp_path / str(length)
        spool = left_behind(folder, b"\xf0ob" + b"g" * length + data, directory)
        assert read(spool) == BATCHES
        assert spool.adopted.corrupt_bytes == length + 3
        spool.close()


def test_a_record_whose_payload_is_no_list_of_binaries_is_corrupt(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    spool.append([1, 2])  # type: ignore[list-item]
    spool.append([b"good"])
    assert read(spool) == [[b"good"]]
    assert spool.own.corrupt == 2
    spool.close()
