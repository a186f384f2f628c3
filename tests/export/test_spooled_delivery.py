"""The pipeline with a spool: what cannot be delivered waits on disk, and arrives later, once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from obskit.export.delivery import backlog as backlog_module
from obskit.export.delivery.backlog import Backlog
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.delivery.pipeline import Limits, Pipeline
from obskit.export.spool.spool import Spool
from tests.export.delivery.test_pipeline import Inbox, soon, weigh
from tests.export.receiver import clean_environ, eventually, free_port, receiver, reply, run

LIMITS = Limits(capacity=100_000, batch_size=100, interval=0.01, timeout=10.0)
AWAY = Outcome(UNREACHABLE, "nobody there", retry=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a receiver that was away again at once, and give up after the first attempt."""
    monkeypatch.setattr(backlog_module, "_PROBE", (0.02, 0.03))
    monkeypatch.setattr(backlog_module, "_ADOPT", (0.02, 0.03))
    monkeypatch.setattr("obskit.export.delivery.sending._KEEP_TRYING_WITH_BACKLOG", 0.0)


def spooling(inbox: Inbox, folder: Path, write_through: bool = False, **limits: Any) -> Pipeline:
    def open_backlog() -> Backlog:
        return Backlog(Spool(folder, "here", 10_000_000, 3600.0), write_through)

    return Pipeline("here", lambda: inbox, LIMITS._replace(**limits), weigh=weigh, open_backlog=open_backlog)


def balance(pipeline: Pipeline) -> dict[str, Any]:
    stats = pipeline.stats()
    known = stats["delivered"] + sum(stats["dropped"].values()) + stats["spooled"] + stats["queued"]
    assert stats["produced"] == known, stats
    return stats


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("write_through", [False, True])
def test_spans_wait_on_disk_while_the_receiver_is_away_and_arrive_once_it_is_back(tmp_path, write_through):
    there: list[bool] = []
    inbox = Inbox(lambda _: DELIVERED if there else AWAY)
    pipeline = spooling(inbox, tmp_path, write_through)
    sent = [b"%d" % number for number in range(250)]
    for item in sent:
        pipeline.offer(item)
    eventually(lambda: balance(pipeline)["spooled"] == 250)
    assert not pipeline.flush(soon())  # on disk is not delivered
    there.append(True)
    eventually(lambda: balance(pipeline)["delivered"] == 250)
    assert balance(pipeline) | {"worker": "", "spool": ""} == {
        "destination": "here", "produced": 250, "delivered": 250, "dropped": {}, "spooled": 0, "queued": 0,
        "worker": "", "spool": "",
    }  # fmt: skip
    assert sorted(inbox.items, key=int) == sent
    assert pipeline.flush(soon())
    assert pipeline.close(soon())


@pytest.mark.usefixtures("impatient")
def test_what_a_closed_pipeline_left_is_adopted_and_delivered_by_the_next(tmp_path):
    pipeline = spooling(Inbox(lambda _: AWAY), tmp_path)
    pipeline.offer(b"left")
    assert not pipeline.close(soon())
    assert balance(pipeline)["spooled"] == 1
    inbox = Inbox()
    heir = spooling(inbox, tmp_path)
    heir.offer(b"new")
    eventually(lambda: sorted(inbox.items) == [b"left", b"new"])
    eventually(lambda: heir.stats()["spool"]["adopted_delivered"] == 1)
    assert balance(heir)["delivered"] == balance(heir)["produced"] == 1
    assert heir.close(soon())


def test_the_statistics_show_no_bytes_on_disk_once_all_that_another_process_left_is_delivered(tmp_path):
    pipeline = spooling(Inbox(lambda _: AWAY), tmp_path)
    pipeline.offer(b"left")
    assert not pipeline.close(soon())
    inbox = Inbox()
    heir = spooling(inbox, tmp_path)
    heir.offer(b"new")
    eventually(lambda: len(inbox.items) == 2)
    eventually(lambda: heir.stats()["spool"]["adopted_delivered"] == 1)
    eventually(lambda: heir.stats()["spool"]["bytes"] == 0)
    assert heir.close(soon())


@pytest.mark.usefixtures("impatient")
def test_live_spans_come_first_and_the_kept_ones_oldest_first(tmp_path):
    there: list[bool] = []
    inbox = Inbox(lambda _: DELIVERED if there else AWAY)
    pipeline = spooling(inbox, tmp_path, batch_size=1)
    for number in range(5):
        pipeline.offer(b"kept %d" % number)
        eventually(lambda: balance(pipeline)["spooled"] == number + 1)  # noqa: B023 - used up at once
    eventually(lambda: not pipeline._delivery._backlog.away())
    there.append(True)
    pipeline.offer(b"live")
    eventually(lambda: len(inbox.items) == 6)
    assert [item for item in inbox.items if item != b"live"] == [b"kept %d" % number for number in range(5)]
    assert pipeline.close(soon())


@pytest.mark.usefixtures("impatient")
def test_a_kept_batch_that_is_refused_for_good_is_lost_under_the_receivers_reason(tmp_path):
    answers = [AWAY, Outcome("http_400", "bad")]
    inbox = Inbox(lambda _: answers.pop(0) if answers else DELIVERED)
    pipeline = spooling(inbox, tmp_path)
    pipeline.offer(b"bad")
    eventually(lambda: balance(pipeline)["dropped"] == {"http_400": 1})
    assert balance(pipeline)["spooled"] == 0
    assert pipeline.close(soon())


def test_a_batch_that_is_being_sent_is_neither_spooled_nor_delivered(tmp_path):
    import threading

    gate, entered = threading.Event(), threading.Event()
    inbox = Inbox(lambda _: entered.set() or (gate.wait() and DELIVERED))
    pipeline = spooling(inbox, tmp_path, write_through=True)
    pipeline.offer(b"1")
    assert entered.wait(10)
    assert (balance(pipeline)["queued"], balance(pipeline)["spooled"]) == (1, 0)
    assert not pipeline.flush(time.monotonic() + 0.05)
    gate.set()
    assert pipeline.flush(soon())
    assert pipeline.close(soon())


@pytest.mark.usefixtures("impatient")
def test_a_folder_that_cannot_be_written_loses_no_more_than_no_spool_does(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    pipeline = spooling(Inbox(lambda _: AWAY), tmp_path / "file")
    pipeline.offer(b"1")
    eventually(lambda: balance(pipeline)["dropped"] == {UNREACHABLE: 1})
    pipeline.close(soon())


PROGRAM = """
import obskit, sys, time
obskit.init(service="test", exporter=sys.argv[1], integrations=[], logs="off")
for number in range(int(sys.argv[2])):
    with obskit.span("a"): pass
"""


def test_spans_that_a_program_could_not_deliver_are_delivered_by_its_next_run(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/v2/spans"
    done = run(PROGRAM, url, "300", OBSKIT_SPOOL=str(tmp_path))
    assert done.returncode == 0
    with receiver(port=port) as server:
        code = PROGRAM + "deadline = time.monotonic() + 20\n"
        code += "def adopted(): return obskit.stats()['exporters'][0].get('spool', {}).get('adopted_delivered', 0)\n"
        code += "while adopted() < 300 and time.monotonic() < deadline: time.sleep(0.01)\n"
        done = run(code, url, "1", OBSKIT_SPOOL=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        assert len({span["id"] for span in server.spans}) == len(server.spans) == 301
    left = Spool(tmp_path, f"{url} json", 10_000_000, 3600.0)
    assert left.adopt() == 0
    left.close()


def test_written_through_spans_survive_kill_9(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    code = PROGRAM + (
        "while obskit.stats()['exporters'][0]['queued']: time.sleep(0.01)\n"
        "print(obskit.stats()['exporters'][0]['spooled'], flush=True)\ntime.sleep(60)"
    )
    environ = clean_environ(OBSKIT_SPOOL=str(tmp_path), OBSKIT_SPOOL_WRITE_THROUGH="1")
    with subprocess.Popen(
        [sys.executable, "-c", code, url, "50"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"50\n"
        process.send_signal(signal.SIGKILL)
    left = Spool(tmp_path, f"{url}/api/v2/spans json", 10_000_000, 3600.0)
    assert left.adopt() == 50
    left.close()


def test_the_end_of_a_program_whose_receiver_hangs_leaves_the_spans_on_disk(tmp_path):
    with receiver() as server:
        server.answers = [server.hang] * 10
        start = time.monotonic()
        done = run(PROGRAM, server.url, "2000", OBSKIT_SPOOL=str(tmp_path), OBSKIT_EXIT_TIMEOUT="6")
        assert time.monotonic() - start < 30
        assert done.returncode == 0
        left = Spool(tmp_path, f"{server.url} json", 10_000_000, 3600.0)
        assert left.adopt() == 2000
        left.close()


def test_a_server_error_at_the_end_leaves_the_spans_on_disk(tmp_path):
    with receiver() as server:
        server.answers = [reply(503)] * 100
        assert run(PROGRAM, server.url, "5", OBSKIT_SPOOL=str(tmp_path)).returncode == 0
        left = Spool(tmp_path, f"{server.url} json", 10_000_000, 3600.0)
        assert left.adopt() == 5
        left.close()
