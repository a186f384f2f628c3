"""What is kept on disk while the receiver is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.battery.backend import ACCEPT, Answer, Request, backend, reply
from tests.battery.lab import Lab, Run, eventually, free_port
from tests.battery.registry import case
from tests.battery.tools import need_namespaces, shell


def _nobody(port: int = 0) -> str:
    return f"http://127.0.0.1:{port or free_port()}"


def _spool(folder: Path) -> dict[str, str]:
    return {"OBSKIT_SPOOL": str(folder), "OBSKIT_SPOOL_WRITE_THROUGH": "true"}


def _fill_and_kill(lab: Lab, port: int, folder: Path, count: int, seconds: float = 10, **environ: str) -> int:
    """Fill the spool while nobody listens, then SIGKILL; return how many spans it had acknowledged."""
    options = {**_spool(folder), "OBSKIT_QUEUE_SIZE": "100000", **environ}
    with lab.start("fill_spool", _nobody(port), count, seconds, "wait", **options) as process:
        assert process.line() == "spooled"
        process.kill()
        spooled = int(process.finish().notes["spooled"])
    assert spooled == count, f"{spooled} of {count} spans were acknowledged to the spool"
    return spooled


@case(11, "kill9", "SIGKILL while the receiver is down, write-through spool; started again", "all that was spooled")
def killed(lab: Lab) -> str:
    folder = lab.folder / "spool"
    port = free_port()
    spooled = _fill_and_kill(lab, port, folder, 200)
    with backend(port=port) as server:
        run = _restart_until(lab, server.url, folder, lambda: len(set(server.names)) >= spooled)
        assert run.code == 0, run.err
        return f"delivered {len(set(server.names))}/{spooled} after SIGKILL, {len(server.names)} with repetitions"


def _restart_until(lab: Lab, url: str, folder: Path, done: Callable[[], Any]) -> Run:
    with lab.start("started_again", url, **_spool(folder)) as process:
        assert process.line() == "started"
        eventually(done, 20, "the delivery of what was spooled")
        process.tell("")
        return process.finish()


@case(
    22,
    "recovery",
    "10 000 batches in the spool, a receiver that takes 5 requests a second",
    "no storm; live spans in time",
    quick=False,
)
def recovery(lab: Lab) -> str:
    folder = lab.folder / "spool"
    port = free_port()
    _fill_and_kill(lab, port, folder, 10_000, 60, OBSKIT_BATCH_SIZE="1", OBSKIT_SPOOL_BYTES="1000000000")
    times: list[float] = []

    def policy(_request: Request) -> Answer:
        now = time.monotonic()
        taken = sum(1 for moment in times if now - moment < 1)
        if taken >= 5:
            return reply(429, "Retry-After: 1\r\n")
        times.append(now)
        return ACCEPT

    with backend(policy, port) as server:
        run = lab.run("live_spans", server.url, OBSKIT_BATCH_SIZE="1", **_spool(folder))
        seconds = run.ended - times[0]
        rate = len(server.posts) / seconds
        live = {name for name in server.names if name.startswith("live")}
        assert rate <= 10, f"{rate:.0f} requests a second: a storm"
        assert len(live) >= 18, f"{len(live)}/20 live spans came while the backlog was sent"
        return (
            f"{rate:.1f} requests a second, {len(live)}/20 live spans, {len(server.names) - len(live)} of the backlog"
        )


@case(53, "spool-faults", "torn tail, bit flip, ENOSPC, EROFS, EACCES, a symlink", "skipped, counted, goes on")
def spool_faults(lab: Lab) -> str:
    need_namespaces()
    figures = [f"{name}: {_damaged(lab, name, damage)}" for name, damage in (("torn tail", _tear), ("bit flip", _flip))]
    for name, prefix in _bad_places(lab).items():
        options = {**_spool(lab.folder / name / "spool"), "OBSKIT_EXIT_TIMEOUT": "0.5"}
        run = lab.compare("fill_spool", _nobody(), 200, 2, prefix=prefix, **options)
        assert "Traceback" not in run.log, f"{name}: {run.log}"
        assert run.log.count("\n") <= 3, f"{name}: more than a warning each for the disk and the receiver: {run.log}"
        lab.settled(run, None, 200, 0)
        figures.append(name)
    return ", ".join(figures)


def _damaged(lab: Lab, name: str, damage: Callable[[Path], None]) -> str:
    """Damage a segment of a dead process; all but a batch or two of it must come, and the program must not notice."""
    folder = lab.folder / name
    port = free_port()
    _fill_and_kill(lab, port, folder, 200, OBSKIT_BATCH_SIZE="10")
    segment = max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    damage(segment)
    with backend(port=port) as server:
        run = _restart_until(lab, server.url, folder, lambda: len(set(server.names)) >= 180)
        assert (run.code, run.err) == (0, ""), run.err
        return f"delivered {len(set(server.names))}/200"


def _tear(segment: Path) -> None:
    data = segment.read_bytes()
    segment.write_bytes(data[:-7])


def _flip(segment: Path) -> None:
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 16
    segment.write_bytes(data)


def _bad_places(lab: Lab) -> dict[str, tuple[str, ...]]:
    """Make folders in which no spool can be; return for each the command to run a program by."""
    for name in ("full", "read-only", "forbidden", "symlink"):
        (lab.folder / name / "spool").mkdir(parents=True)
    full, read_only, forbidden, link = (
        lab.folder / name / "spool" for name in ("full", "read-only", "forbidden", "symlink")
    )
    forbidden.chmod(0o500)
    link.rmdir()
    (lab.folder / "elsewhere").mkdir()
    link.symlink_to(lab.folder / "elsewhere")
    ballast = f"mount -t tmpfs -o size=64k none {full}; head -c 50000 /dev/zero > {full}/ballast"
    remount = f"mount --bind {read_only} {read_only}; mount -o remount,ro,bind {read_only}"
    return {
        "full": shell(ballast, "-rm"),
        "read-only": shell(remount, "-rm"),
        "forbidden": shell("true", "-U"),  # a user namespace without a mapping: root has no power over files there
        "symlink": (),
    }
