"""What profilers cost a busy Flask application: CPU time for each request, with the profiler and without, by turns.

``python tests/benchmarks/profiler_overhead.py [PROFILER ...]`` with any of obskit, yappi, pyinstrument and google
(its agent's wall-time sampler); each runs in a process of its own, those that are not installed are left out.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

ROUNDS, SECONDS = 8, 1.5
PROFILERS = ("obskit", "pyinstrument", "yappi", "google")
Finish = Callable[[], object]


def application() -> Callable[[], None]:
    """Return what serves one request of Flask: about a millisecond of templates, JSON and dictionaries."""
    import flask
    from werkzeug.test import EnvironBuilder, run_wsgi_app

    app = flask.Flask("shop")
    template = "{% for o in orders %}<li>{{ o.id }} {{ o.name|upper }}</li>{% endfor %}"

    @app.get("/orders/<int:number>")
    def orders(number: int) -> str:
        found = [{"id": n, "name": f"order {n}"} for n in range(number)]
        return flask.render_template_string(template, orders=found) + flask.json.dumps(found)

    def serve() -> None:
        run_wsgi_app(app, EnvironBuilder("/orders/40").get_environ(), buffered=True)

    return serve


def start_obskit() -> Finish:
    from obskit.profiling.outputs import Stop
    from obskit.profiling.sampler import Sampler
    from obskit.profiling.threads import Identities

    stop = Stop()
    own: list[float] = []

    def sample() -> None:
        began = time.thread_time()
        Sampler(100, Identities()).run(3600, stop)
        own.append(time.thread_time() - began)

    thread = threading.Thread(target=sample)
    thread.start()

    def finish() -> float:
        stop.ask()
        thread.join()
        return own[0]

    return finish


def start_pyinstrument() -> Finish:
    from pyinstrument import Profiler

    profiler = Profiler(interval=0.01, async_mode="disabled")
    profiler.start()
    return profiler.stop


def start_yappi() -> Finish:
    import yappi

    yappi.set_clock_type("cpu")
    yappi.start()
    return lambda: (yappi.stop(), yappi.clear_stats())


def start_google() -> Finish:
    import signal

    from googlecloudprofiler import pythonprofiler

    profiler = pythonprofiler.WallProfiler(10)
    profiler.register_handler()
    threading.Timer(0, lambda: None).start()
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    return lambda: signal.setitimer(signal.ITIMER_REAL, 0)


def load(serve: Callable[[], None], threads: int, start: Callable[[], Finish] | None) -> tuple[float, float]:
    """Serve as much as goes for a while; all threads have work by turns, of which one serves at a time.

    Returns the CPU microseconds for each request, and those of obskit's own thread in each second.
    """
    turn = threading.Semaphore(1)
    served = [0]
    end = time.perf_counter() + SECONDS

    def work() -> None:
        while time.perf_counter() < end:
            with turn:
                serve()
                served[0] += 1

    workers = [threading.Thread(target=work) for _ in range(threads - 1)]
    finish = start() if start is not None else None
    began = time.process_time()
    for worker in workers:
        worker.start()
    work()
    for worker in workers:
        worker.join()
    used = time.process_time() - began
    own: Any = finish() if finish is not None else 0.0
    return used / served[0] * 1e6, own / SECONDS if isinstance(own, float) else 0.0


def measure(name: str) -> None:
    serve = application()
    start: Callable[[], Finish] = globals()[f"start_{name}"]
    start()()
    for threads in (1, 20, 200):
        pairs = []
        for number in range(ROUNDS):
            sides = (None, start) if number % 2 else (start, None)
            found = {side is not None: load(serve, threads, side) for side in sides}
            pairs.append((found[True][0] / found[False][0] - 1, found[True][1], found[False][0]))
        more, own, plain = (median(column) for column in zip(*pairs, strict=True))
        note = f"; its thread used {100 * own:.2f} % of a processor" if name == "obskit" else ""
        print(
            f"{name:13}{threads:4} threads: {100 * more:+7.2f} % CPU time per request of {plain:5.0f} us{note}",
            flush=True,
        )


def main() -> None:
    """Measure each profiler in a process of its own."""
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2])
        return
    print(f"Python {sys.version.split()[0]}; while sampling, a hundred times a second (yappi: every call)")
    for name in sys.argv[1:] or PROFILERS:
        done = subprocess.run([sys.executable, __file__, "--one", name], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{name:13}left out: {done.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
