"""Prefork servers: every worker delivers what it served, and nothing twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

from tests.battery.backend import Backend, backend
from tests.battery.lab import PLAIN, PROGRAMS, Lab, Process, Run, eventually, free_port
from tests.battery.registry import Skipped, case
from tests.battery.tools import need
from tests.integrations.renewed_servers import DJANGO, FLASK, check_renewal, rewrite

_REQUESTS = 200
_TASKS = 40


@case(
    3,
    "celery",
    "a Celery worker (prefork) renews its processes after each task, then SIGTERM",
    "every task's span exactly once; what came before the fork once",
    quick=False,
    peers=True,
)
def celery(lab: Lab) -> str:
    need("celery")
    with backend() as server:
        plain = _work(lab, "none", PLAIN)
        run = _work(lab, server.url, lab.side)
        assert run.code == plain.code, f"exit {run.code}, without the library {plain.code}"
        early, tasks = server.names.count("before the fork"), sum(name.startswith("task ") for name in server.names)
        figure = f"delivered {early}/1 from before the fork, {tasks}/{_TASKS} of the tasks"
        wanted = Counter(["before the fork", *(f"task {number}" for number in range(_TASKS))])
        assert Counter(server.names) == wanted, figure
        if lab.is_obskit:
            _check_ids(server)
        return f"{figure}, exit {run.code}"


def _work(lab: Lab, url: str, side: str) -> Run:
    """Have a worker do the tasks that wait in its queue, then end it by SIGTERM, which is a warm shutdown."""
    for folder in (lab.folder / "queue", lab.folder / "queue-control"):
        shutil.rmtree(folder, ignore_errors=True)  # a worker that ends may put back tasks that it has done
        folder.mkdir()
    sent = lab.run("celery_client", "none", _TASKS, side=PLAIN)
    assert sent.code == 0, sent.err
    with lab.start("celery_worker", url, side=side, OBSKIT_FLUSH_INTERVAL="3600") as process:
        done = [process.line() for _ in range(_TASKS)]
        assert done == ["done"] * _TASKS, f"the worker did {done.count('done')} of {_TASKS} tasks"
        process.popen.send_signal(signal.SIGTERM)
        return process.finish()


@case(4, "preload", "gunicorn --preload -w 4", "all workers' spans; what came before the fork once")
def gunicorn(lab: Lab) -> str:
    need("gunicorn")
    port = free_port()
    command = ["-m", "gunicorn", "--preload", "-w", "4", "-b", f"127.0.0.1:{port}", "--log-level", "critical"]
    return _serve_both(lab, [lab.python, *command, "--chdir", str(PROGRAMS), "served:application"], port, "3600")


@case(5, "uwsgi", "uWSGI, application loaded before the fork", "all workers' spans; a clean exit")
def uwsgi(lab: Lab) -> str:
    program = shutil.which("uwsgi", path=str(Path(sys.executable).parent)) or shutil.which("uwsgi")
    if program is None:
        raise Skipped("there is no uwsgi: pip install pyuwsgi")
    port = free_port()
    command = [program, "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "4", "--die-on-term"]
    options = ["--need-app", "--disable-logging", "--enable-threads", "--wsgi-file", str(PROGRAMS / "served.py")]
    # Its master ends without Python's exit handlers, so its span must go at once. It forks without Python's hooks, and
    # without the interpreter lock: where a thread has that at this moment, the worker waits for it for ever.
    return _serve_both(lab, [*command, *options], port, "0")


@case(
    67,
    "reloaders",
    "flask run --debug and Django's runserver, whose application changes",
    "the new process traces; every request's span exactly once",
    quick=False,
)
def reloaders(lab: Lab) -> str:
    need("flask", "django")
    commands = {"flask --app app run --debug --port {port}": FLASK, "django runserver 127.0.0.1:{port}": DJANGO}
    checks = (
        check_renewal(program, command, rewrite, lab.folder, killed=True) for command, program in commands.items()
    )
    return ", ".join(checks)


def _serve_both(lab: Lab, command: list[str], port: int, interval: str) -> str:
    with backend() as server:
        plain, _ = _serve(lab, command, port, PLAIN, server, interval)
        assert not server.requests
        code, pids = _serve(lab, command, port, lab.side, server, interval)
        assert code == plain, f"exit {code}, without the library {plain}"
        early, served = (server.names.count(name) for name in ("before the fork", "request"))
        assert (early, served) == (1, _REQUESTS), f"delivered {early}/1 from before the fork, {served}/{_REQUESTS}"
        _check_ids(server)
        return f"delivered {served}/{_REQUESTS} of {len(pids)} workers and 1/1 from before the fork, exit {code}"


def _check_ids(server: Backend) -> None:
    ids = [span["id"] for request in server.taken for span in request.spans]
    assert len(set(ids)) == len(ids), "two spans have one id"


def _serve(
    lab: Lab, command: list[str], port: int, side: str, server: Backend, interval: str
) -> tuple[int, set[bytes]]:
    """Serve requests; return the exit status and the workers' pids."""
    with lab.start_command(command, server.url, side, OBSKIT_FLUSH_INTERVAL=interval) as process:
        eventually(lambda: _get(port), 30, "an answer")
        pids = {_get(port) for _ in range(_REQUESTS - 1)}
        _stop(process)
        assert pids != {b""}
        return process.popen.returncode, pids


def _stop(process: Process) -> None:
    """Ask until it ends: uWSGI at times misses a signal, without a library too."""
    for _ in range(5):
        process.popen.send_signal(signal.SIGTERM)
        try:
            process.popen.communicate(timeout=6)
        except subprocess.TimeoutExpired:
            continue
        return
    raise AssertionError("the server does not end")


def _get(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return bytes(response.read())
    except OSError:
        return b""
