"""Ids are random per process, whatever the application does to ``random``."""

from __future__ import annotations

import os
import random
import time
from unittest import mock

import pytest

from obskit.base import process
from obskit.tracing import ids
from obskit.tracing.ids import new_span_id, new_trace

HEX = set("0123456789abcdef")


def test_ids_are_lower_case_hex_of_full_width():
    trace_ids, root_ids = map(set, zip(*[new_trace(time.time_ns()) for _ in range(2000)], strict=True))
    span_ids = {new_span_id() for _ in range(2000)} | root_ids
    assert (len(trace_ids), len(span_ids)) == (2000, 4000)
    assert {len(one) for one in trace_ids} == {32}
    assert {len(one) for one in span_ids} == {16}
    assert set("".join(trace_ids | span_ids)) <= HEX


@pytest.mark.parametrize("seconds", [1_700_000_000, 1_700_000_001, 1_600_000_000, 0, 2**32 + 5])
def test_a_trace_id_begins_with_the_epoch_seconds_and_ends_with_the_first_spans_id(seconds):
    for now in (seconds * 10**9, seconds * 10**9 + 999_999_999):
        trace_id, span_id = new_trace(now)
        assert int(trace_id[:8], 16) == seconds % 2**32
        assert trace_id.endswith(span_id)


def test_what_is_between_them_is_random_for_each_second():
    assert len({new_trace(second * 10**9)[0][8:16] for second in range(100)}) == 100


def test_mocks_of_the_systems_random_bytes_are_neither_used_nor_disturbed():
    with mock.patch("os.urandom", side_effect=[b"theirs"]):
        assert len({new_span_id() for _ in range(200)} | {new_trace(second * 10**9)[0] for second in range(200)}) == 400
        assert os.urandom(6) == b"theirs"


def test_the_applications_seed_is_neither_used_nor_disturbed():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    first = new_span_id()
    assert random.random() == expected
    random.seed(7)
    assert new_span_id() != first


def test_forked_children_make_different_ids():
    now = time.time_ns()
    mine = new_trace(now)[0]
    children = []
    for _ in range(2):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, new_trace(now)[0].encode())
            os._exit(0)
        os.close(writer)
        children.append((pid, reader))
    found = []
    for pid, reader in children:
        os.waitpid(pid, 0)
        found.append(os.read(reader, 100))
        os.close(reader)
    ids = {*found, new_trace(now)[0].encode(), mine.encode()}
    assert (len({one[16:] for one in ids}), len({one[:16] for one in ids})) == (4, 3)


def test_a_fork_without_pythons_hooks_is_noticed(monkeypatch):
    renewed = []
    process.on_fork(lambda: renewed.append(1))
    process.check_fork()
    assert renewed == []
    monkeypatch.setattr(process, "pid", -1)
    process.check_fork()
    process.check_fork()
    assert renewed == [1]


def test_ids_made_in_advance_stay_few():
    for _ in range(1000):
        new_span_id()
        new_trace(0)
    assert len(ids._span_ids) <= ids._AT_ONCE
