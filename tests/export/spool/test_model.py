"""Any order of operations on several processes' spools, compared with plain lists."""

from __future__ import annotations

import shutil
import tempfile
from itertools import count
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from obskit.export.spool.spool import Spool
from tests.export.spool.disk import crash, new_spool, segments, taken

PROCESSES = 3
AT_ONCE = 8
Batch = list[bytes]
process = st.integers(0, PROCESSES - 1)


class Model:
    """What one process's spool should hold: its own batches, and those of each directory it adopted, oldest first."""

    def __init__(self) -> None:
        self.own: list[Batch] = []
        self.adopted: list[list[Batch]] = []
        self.handles: list = []

    def directories(self) -> list[list[Batch]]:
        return [directory for directory in [*self.adopted, self.own] if directory]


class Processes(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.spools = [self.new() for _ in range(PROCESSES)]
        self.models = [Model() for _ in range(PROCESSES)]
        self.orphans: list[list[Batch]] = []
        self.numbers = count()

    def new(self) -> Spool:
        spool = new_spool(self.folder)
        spool._segment_bytes = 200  # a few records each
        return spool

    @rule(which=process, items=st.integers(1, 4), size=st.sampled_from([0, 1, 30, 300]))
    def append(self, which: int, items: int, size: int) -> None:
        batch = [b"%d-%d" % (next(self.numbers), size) + b"." * size for _ in range(items)]
        record = self.spools[which].append(batch)
        assert record is not None
        assert not record.adopted
        self.models[which].own.append(batch)
        self.models[which].handles.append(record)

    @rule(which=process)
    def look(self, which: int) -> None:
        model, record = self.models[which], self.spools[which].next()
        if record is None:
            assert not model.directories()
            return
        oldest = [directory[0] for directory in (model.adopted if record.adopted else [model.own]) if directory]
        assert record.items in oldest
        assert record.adopted == any(model.adopted), "what others left comes first"
        model.handles.append(record)

    @precondition(lambda self: any(model.handles for model in self.models))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from([n for n, model in enumerate(self.models) if model.handles]))
        spool, model = self.spools[which], self.models[which]
        record = data.draw(st.sampled_from(model.handles))
        holders = [directory for directory in model.directories() if record.items in directory]
        assert spool.acknowledge(record) == bool(holders), "true once"
        for directory in holders:
            directory.remove(record.items)

    @rule(which=process)
    def drain(self, which: int) -> None:
        spool, model = self.spools[which], self.models[which]
        waiting = sorted(batch for directory in model.directories() for batch in directory)
        found = []
        while record := spool.next():
            assert spool.acknowledge(record)
            found.append(record.items)
        assert sorted(found) == waiting
        model.own, model.adopted = [], []

    @rule(which=process)
    def adopt(self, which: int) -> None:
        model, spool = self.models[which], self.spools[which]
        before = sum(map(bool, model.adopted))
        if before + len(self.orphans) > AT_ONCE:
            return
        assert spool.adopt() == sum(len(batch) for directory in self.orphans for batch in directory)
        model.adopted += self.orphans
        self.orphans = []

    @rule(which=process, how=st.sampled_from([crash, Spool.close]))
    def end(self, which: int, how) -> None:
        how(self.spools[which])
        self.orphans += self.models[which].directories()
        self.spools[which], self.models[which] = self.new(), Model()

    @invariant()
    def counts_balance(self) -> None:
        for spool, model in zip(self.spools, self.models, strict=True):
            assert spool.own.waiting == sum(map(len, model.own))
            assert spool.adopted.waiting == sum(len(batch) for directory in model.adopted for batch in directory)
            for counts in (spool.own, spool.adopted):
                assert (counts.evicted, counts.expired, counts.corrupt, counts.corrupt_bytes) == (0, 0, 0, 0)
            assert spool.refused == 0

    def teardown(self) -> None:
        if not hasattr(self, "spools"):
            return
        for spool in self.spools:
            spool.close()
        last, delivered = self.new(), []
        while last.adopt():
            while record := last.next():
                last.acknowledge(record)
                delivered.append(record.items)
        last.adopt()
        left = [directory for model in self.models for directory in model.directories()] + self.orphans
        assert sorted(delivered) == sorted(batch for directory in left for batch in directory)
        assert segments(self.folder) == []
        assert list((self.folder).glob("spool/*/*")) == [], "empty directories are removed"
        last.close()
        shutil.rmtree(self.folder)


class SmallDisk(RuleBasedStateMachine):
    """Room for little: what is lost is counted once, and it is what is oldest."""

    LIMIT = 40_000

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.spools = [self.new(), self.new()]
        self.numbers = count()
        self.delivered: list[int] = []
        self.lost = self.evicted = self.appended = 0

    def new(self) -> Spool:
        return new_spool(self.folder, max_bytes=self.LIMIT)

    @rule(which=st.integers(0, 1), items=st.integers(1, 5), size=st.sampled_from([10, 600, 2500, 16_000]))
    def append(self, which: int, items: int, size: int) -> None:
        batch = [b"%09d" % next(self.numbers) + b"." * (size // items) for _ in range(items)]
        if self.spools[which].append(batch):
            self.appended += items
        else:
            self.spools[which]._try_again = 0.0  # as a second later
            self.lost += items

    @rule(which=st.integers(0, 1), most=st.integers(1, 10))
    def deliver_some(self, which: int, most: int) -> None:
        self.deliver(which, most)

    def deliver(self, which: int, most: int) -> None:
        spool = self.spools[which]
        while most and (record := spool.next()):
            assert spool.acknowledge(record)
            self.delivered += [int(item[:9]) for item in record.items]
            most -= 1

    @rule(which=st.integers(0, 1))
    def crash_and_restart(self, which: int) -> None:
        spool = self.spools[which]
        spool._review()  # what others evicted and this process had no time to notice would be counted by nobody
        self.remember(spool)
        crash(spool)
        self.spools[which] = self.new()

    @rule(which=st.integers(0, 1))
    def adopt(self, which: int) -> None:
        self.spools[which].adopt()

    @invariant()
    def the_limit_holds(self) -> None:
        assert taken(self.folder) <= self.LIMIT
        assert all(counts.waiting >= 0 for spool in self.spools for counts in (spool.own, spool.adopted))

    def remember(self, spool: Spool) -> None:
        self.evicted += spool.own.evicted + spool.adopted.evicted

    def teardown(self) -> None:
        if not hasattr(self, "spools"):
            return
        self.spools.append(self.new())
        while sum(spool.adopt() for spool in self.spools) + sum(map(self.deliver_all, range(3))):
            pass
        for spool in self.spools:
            self.remember(spool)
            assert (spool.own.waiting, spool.adopted.waiting) == (0, 0)
        assert len(set(self.delivered)) == len(self.delivered)
        assert self.appended == len(self.delivered) + self.evicted
        assert next(self.numbers) == self.appended + self.lost
        for spool in self.spools:
            spool.close()
        shutil.rmtree(self.folder)

    def deliver_all(self, which: int) -> int:
        before = len(self.delivered)
        self.deliver(which, 1_000_000)
        return len(self.delivered) - before


often = settings(max_examples=40, stateful_step_count=40, deadline=None, database=None)
TestProcesses = Processes.TestCase
TestProcesses.settings = often
TestSmallDisk = SmallDisk.TestCase
TestSmallDisk.settings = often
