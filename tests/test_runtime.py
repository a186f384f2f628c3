"""init, shutdown and what lies between: in any order, from any thread, whatever the program's state."""

from __future__ import annotations

import http.client
import logging
import subprocess
import sys
import threading
from functools import partial

import pytest

import obskit
from obskit.instrumentation.patching import Patches
from obskit.runtime import runtime
from tests.export.conftest import fresh  # noqa: F401 - a fixture
from tests.export.receiver import eventually, receiver, run

pytestmark = pytest.mark.usefixtures("fresh")
THREADS = "len(os.listdir('/proc/self/task'))"


def make(name: str = "a") -> None:
    with obskit.span(name):
        pass


def test_init_starts_no_thread_opens_no_socket_and_imports_nothing_heavy():
    code = f"""
import os, sys
threads, files = {THREADS}, len(os.listdir('/proc/self/fd'))
import obskit; obskit.init()
assert ({THREADS}, len(os.listdir('/proc/self/fd'))) == (threads, files)
heavy = 'msgspec wrapt http.client sqlite3 opentelemetry.sdk ssl asyncio email socket importlib.abc'.split()
print([name for name in heavy if name in sys.modules])
"""
    done = run(code)
    assert done.stdout == "[]\n", done.stderr


def test_the_same_options_again_change_nothing(caplog):
    caplog.set_level(logging.INFO, "obskit")
    with receiver() as server:
        for _ in range(3):
            obskit.init(exporter=server.url, integrations=[])
        before = runtime.pipelines
        obskit.init(exporter=server.url, integrations=[])
        assert runtime.pipelines == before
        assert caplog.records == []


def test_other_options_apply_from_then_on_with_one_line_in_the_log(caplog):
    caplog.set_level(logging.INFO, "obskit")
    with receiver() as first, receiver() as second:
        obskit.init(exporter=first.url, integrations=[], flush_interval=3600)
        make("one")
        obskit.init(exporter=second.url, integrations=[], flush_interval=3600)
        make("two")
        assert obskit.flush()
        eventually(lambda: (first.names, second.names) == (["one"], ["two"]))
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert f"exporter: ['{first.url}'] -> ['{second.url}']" in record.getMessage()


def test_options_that_a_later_init_leaves_out_stay_as_they_were_given(caplog):
    caplog.set_level(logging.INFO, "obskit")
    with receiver() as server:
        obskit.init(service="orders", exporter=server.url, integrations=[])
        obskit.init(exporter=server.url, integrations=[])
        assert caplog.records == []
        obskit.init(sample_rate=0.5)
        assert runtime.settings is not None
        assert (runtime.settings.service, repr(runtime.settings.exporter)) == ("orders", f"({server.url!r},)")
        obskit.init(service="tasks")
        said = [(record.levelname, record.getMessage().rpartition("now on: ")[2]) for record in caplog.records]
        assert said == [("INFO", "sample_rate: 1.0 -> 0.5"), ("WARNING", "service: 'orders' -> 'tasks'")]
        obskit.shutdown()
        obskit.init(exporter="none", integrations=[])
        assert runtime.settings.service not in ("orders", "tasks")


def test_a_password_is_not_shown_where_an_exporter_is_replaced(caplog):
    caplog.set_level(logging.INFO, "obskit")
    obskit.init(exporter="http://user:geheim@127.0.0.1:1/", integrations=[])
    obskit.init(exporter="none", integrations=[])
    assert "exporter: " in caplog.text
    assert "geheim" not in caplog.text


def test_the_environment_and_the_version_are_tags_of_each_span_unless_the_span_says_otherwise():
    with receiver() as server:
        obskit.init(environment="prod-eu", version="7", exporter=server.url, integrations=[])
        make("plain")
        with obskit.span("own") as span:
            span.tag("service.version", "8")
        assert obskit.flush()
        tags = {span["name"]: span["tags"] for span in server.spans}
        assert tags["plain"] == {"service.version": "7", "deployment.environment.name": "prod-eu"}
        assert tags["own"] == {"service.version": "8", "deployment.environment.name": "prod-eu"}


def test_a_variable_that_means_nothing_is_told_once_with_the_one_that_is_like_it():
    code = "import obskit\nfor _ in range(2): obskit.init(logs='off', integrations=[]); obskit.shutdown()"
    done = run(code, OBSKIT_SAMPLERATE="1", OBSKIT_ZZZ="1", OBSKIT_CLOUDTRACE_ENDPOINT="x")
    assert sorted(done.stderr.splitlines()) == [
        "OBSKIT_SAMPLERATE means nothing to this obskit; did you mean OBSKIT_SAMPLE_RATE?",
        "OBSKIT_ZZZ means nothing to this obskit",
    ]


SIGNALS = {
    "another thread": "import threading; t = threading.Thread(target=start); t.start(); t.join()",
    "threading first imported on another thread": """
import _thread, sys, time
done = []
sys.modules.pop('threading', None)
_thread.start_new_thread(lambda: done.append(__import__('threading')), ())
while not done: time.sleep(0.01)
start()
""",
    "signal.signal raises": """
import signal
def refuse(*_): raise ValueError('not here')
signal.signal = refuse
start()
""",
}


@pytest.mark.parametrize("where", SIGNALS)
def test_init_does_without_a_signal_handler_where_none_can_be_set(where):
    begin = "def start():\n    import obskit\n    obskit.init(exporter='console', logs='off', integrations=[])\n"
    done = run(begin + SIGNALS[where] + "\nimport obskit\nwith obskit.span('a'): pass\n")
    assert (done.returncode, done.stdout.count('"name":"a"')) == (0, 1), done.stderr


@pytest.mark.skipif(sys.version_info < (3, 13), reason="older ones refuse to end an interpreter that has a thread")
@pytest.mark.parametrize("hangs", [False, True])
def test_a_subinterpreter_delivers_and_ends_whatever_the_receiver_does(hangs):
    code = """
import sys, _interpreters
lines = [
    f"import sys; sys.path[:] = {sys.path!r}", "import obskit",
    f"obskit.init(exporter={sys.argv[1]!r}, logs='off', exit_timeout=2, export_timeout=1, integrations=[])",
    "obskit.span('a').__enter__().end()",
]
for _ in range(2):
    one = _interpreters.create('legacy')
    print(_interpreters.exec(one, '\\n'.join(lines)))
    _interpreters.destroy(one)
"""
    with receiver() as server:
        if hangs:
            server.answers = [server.hang] * 99
        done = run(code, server.url)
        assert (done.returncode, done.stdout) == (0, "None\nNone\n"), done.stderr
        assert hangs or server.names == ["a", "a"]


def test_an_exporter_that_stays_keeps_its_queue_and_connection():
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[], flush_interval=3600)
        make()
        assert obskit.flush()
        make()
        obskit.init(exporter=[server.url, "none"], integrations=[], flush_interval=3600, queue_size=1)
        make()  # does not fit
        assert obskit.flush()
        (one,) = obskit.stats()["exporters"]
        assert (one["delivered"], one["dropped"], server.connections) == (2, {"queue_full": 1}, 1)


def test_reconfiguring_amid_traffic_loses_nothing_and_counts_everything():
    made = []
    with receiver() as server:
        init = partial(obskit.init, integrations=[], flush_interval=0, queue_size=1_000_000, exit_timeout=30)
        init(exporter=server.url)
        make("first")  # what delivers is imported by now: amid a thread that never waits that takes seconds
        eventually(lambda: server.names == ["first"])
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                make(f"span {len(made)}")
                made.append(1)
                if len(made) % 100 == 0:
                    over.wait(0.001)  # a thread that never waits leaves the interpreter to no other for long

        thread = threading.Thread(target=work)
        thread.start()
        for number in range(20):
            init(exporter=f"{server.url}?{number}")
            seen = len(server.bodies)
            eventually(lambda: len(server.bodies) > seen)  # noqa: B023
        over.set()
        thread.join()
        assert obskit.flush(10)
        eventually(lambda: len(server.names) >= len(made) - 20)  # a span between two pipelines is dropped, and counted
        assert len(set(server.names)) == len(server.names)


@pytest.mark.parametrize("sample_rate", [0, 1])
def test_the_sample_rate_applies_and_what_is_left_out_is_counted(sample_rate):
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[], sample_rate=sample_rate)
        before = obskit.stats()["sampled_out"]
        make()
        assert obskit.flush()
        assert len(server.bodies) == sample_rate
        assert obskit.stats()["sampled_out"] - before == 1 - sample_rate


def test_switched_off_nothing_is_patched_started_or_set():
    code = f"""
import os, sys, http.client, logging
request = http.client.HTTPConnection.__dict__['putrequest']
import obskit
obskit.init(service='x')
from opentelemetry import trace
assert http.client.HTTPConnection.__dict__['putrequest'] is request
assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
with obskit.span('a'): assert obskit.inject({{}}) == {{}}
assert obskit.flush() and obskit.shutdown()
print({THREADS}, obskit.stats()['exporters'], sys.meta_path[0].__class__.__module__.startswith('obskit.'))
"""
    done = run(code, OBSKIT_ENABLED="false")
    assert (done.stdout, done.stderr) == ("1 [] False\n", "")


def test_on_a_python_without_its_lock_init_does_nothing_but_say_so():
    """None of CPython's free-threaded builds is needed for this: what it answers is."""
    code = f"""
import http.client, os, sys, threading
sys._is_gil_enabled = lambda: False
request, start = http.client.HTTPConnection.__dict__['putrequest'], threading.Thread.start
import obskit
obskit.init(service='x', logs='json')
assert http.client.HTTPConnection.__dict__['putrequest'] is request and threading.Thread.start is start
with obskit.span('a'): assert obskit.inject({{}}) == {{}}
assert obskit.flush() and obskit.shutdown()
print({THREADS}, obskit.stats()['exporters'])
"""
    done = run(code)
    assert done.stdout == "1 []\n"
    assert done.stderr.count("\n") == 1
    assert "PYTHON_GIL=1" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 13), reason="no module makes isolated ones")
def test_in_an_isolated_subinterpreter_init_does_nothing_but_say_so():
    """msgspec, by which lines are encoded, cannot be loaded there: each line would be lost."""
    lines = f"""
import sys
sys.path[:] = {sys.path!r}
import obskit, logging, threading
obskit.init(exporter='console', logs='json', integrations=[])
logging.getLogger('app').warning('as without obskit')
with obskit.span('a'): assert obskit.inject({{}}) == {{}}
assert obskit.flush() and obskit.stats()['exporters'] == [] and threading.active_count() == 1
"""
    done = run(
        "import _interpreters\nother = _interpreters.create()\n"
        f"assert _interpreters.exec(other, {lines!r}) is None\n_interpreters.destroy(other)"
    )
    said, line = done.stderr.splitlines()
    assert (done.returncode, done.stdout, line) == (0, "", "as without obskit")
    assert said.startswith("obskit is off in this subinterpreter: it is isolated")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_deliver_however_multiprocessing_starts_them(method, tmp_path):
    """From Python 3.14 on, a process that serves forks makes them by default: it imports the program as spawn does."""
    program = tmp_path / "program.py"
    with receiver() as server:
        program.write_text(f"""
import concurrent.futures, multiprocessing, obskit
obskit.init(service="x", exporter={server.url!r}, logs="off")
def work(number):
    with obskit.span(f"work-{{number}}"): return number
if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        assert list(pool.map(work, range(3))) == [0, 1, 2]
    process = multiprocessing.Process(target=work, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 0
""")
        command = [sys.executable, "-W", "ignore::DeprecationWarning", str(program)]  # of forks beside threads
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(server.names) == [f"work-{number}" for number in range(4)]


def test_switching_off_delivers_what_there_is_and_switching_on_works_again():
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[], flush_interval=3600)
        make("one")
        obskit.init(enabled=False)
        make("off")
        eventually(lambda: server.names == ["one"])
        obskit.init(exporter=server.url, integrations=[])
        make("two")
        assert obskit.flush()
        assert server.names == ["one", "two"]


def test_init_from_several_threads_at_once_is_init_once():
    with receiver() as server:
        barrier, errors = threading.Barrier(8), []

        def start() -> None:
            barrier.wait()
            try:
                obskit.init(exporter=server.url, integrations=[])
                make()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert obskit.flush()
        assert errors == []
        (one,) = obskit.stats()["exporters"]
        assert one["delivered"] == len(server.spans) == 8


def test_shutdown_delivers_stops_and_counts_what_comes_later_and_init_starts_again():
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[], flush_interval=3600)
        make("one")
        assert obskit.shutdown()
        assert server.names == ["one"]
        make("lost")
        (one,) = obskit.stats()["exporters"]
        assert (one["worker"], one["dropped"]) == ("closed", {"shutdown": 1})
        obskit.init(exporter=server.url, integrations=[])
        make("two")
        assert obskit.flush()
        assert server.names == ["one", "two"]


def test_shutdown_with_unpatch_restores_the_originals_by_identity_and_init_patches_again(monkeypatch):
    original = http.client.HTTPConnection.__dict__["putrequest"]

    def install(_names, hooks, patches: Patches) -> None:
        def hook(module) -> None:
            patches.wrap(module.HTTPConnection, "putrequest", lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))

        hooks.when_imported("http.client", hook)

    monkeypatch.setattr("obskit.runtime.lifecycle.install", install)
    for _ in range(2):
        obskit.init(exporter="none", integrations=[])
        assert http.client.HTTPConnection.__dict__["putrequest"] is not original
        patched = http.client.HTTPConnection.__dict__["putrequest"]
        obskit.init(exporter="none", integrations=[], sample_rate=0.5)
        assert http.client.HTTPConnection.__dict__["putrequest"] is patched
        assert obskit.shutdown(unpatch=True)
        assert http.client.HTTPConnection.__dict__["putrequest"] is original


def test_shutdown_without_init_and_twice_is_fine():
    code = """import obskit
done = obskit.flush(), obskit.shutdown(), obskit.shutdown(unpatch=True)
print(*done, {**obskit.stats(), "sampling": 0, "integrations": 0})"""
    done = run(code)
    stats = {"sampled_out": 0, "sampling": 0, "failures": 0, "exporters": [], "logs": {"written": 0, "lost": 0}}
    stats |= {"integrations": 0, "profiler": {"state": "off"}}
    assert done.stdout == f"True True True {stats}\n"


@pytest.mark.parametrize(
    "state",
    [
        "import sys; del sys.argv",
        "import os; os.chdir('/tmp'); import tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
        "import sys; sys.stdout = sys.stderr = None",
        "import os; os.environ.clear()",
        "import logging; logging.disable()",
        pytest.param(
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))",
            marks=pytest.mark.skipif(sys.version_info >= (3, 15), reason="logging opens a file to format a traceback"),
        ),
        "import gc; gc.disable()",
    ],
)
def test_init_raises_nothing_whatever_the_state_of_the_program(state):
    code = f"import obskit, sys\n{state}\nobskit.init(service='x', integrations=[], exporter='http://127.0.0.1:1')\n"
    done = run(code + "with obskit.span('a'): pass\nobskit.flush(0.1)")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr.replace("the application is not affected\nTraceback", "")


def test_a_missing_provider_that_opentelemetry_is_told_to_load_breaks_nothing():
    done = run("import obskit; obskit.init(integrations=[]); print('on')", OTEL_PYTHON_TRACER_PROVIDER="missing")
    assert (done.stdout, done.returncode) == ("on\n", 0)


class Raising(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("the handler is broken")


def test_a_log_handler_that_raises_breaks_neither_the_program_nor_the_delivery():
    handler = Raising()
    logging.getLogger().addHandler(handler)
    try:
        with receiver(lambda c: c.sendall(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n") or True) as server:
            obskit.init(exporter=server.url, integrations=[], flush_interval=0)
            obskit.init(exporter=server.url, integrations=[], flush_interval=0, sample_rate=1, batch_size=2)
            make()
            eventually(lambda: obskit.stats()["exporters"][0]["delivered"] == 1)
            assert obskit.stats()["failures"] > 0
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_log_handler_that_is_itself_traced_does_not_feed_on_itself():
    """Our warning makes the handler make a span, whose delivery fails too: bounded, one warning."""
    records = []

    class Traced(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())
            with obskit.span("from the handler"):
                pass

    handler = Traced()
    logging.getLogger("obskit").addHandler(handler)
    try:
        with receiver(*[lambda c: c.sendall(b"HTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n") or True] * 99) as server:
            obskit.init(exporter=server.url, integrations=[], flush_interval=0)
            for _ in range(3):
                make()
                assert not obskit.flush()
            assert len(server.bodies) == 3
            assert set(server.names) == {"a"}
            assert len(records) == 1
    finally:
        logging.getLogger("obskit").removeHandler(handler)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_thousand_reconfigurations_leave_one_thread_and_no_open_files():
    code = f"""
import os, obskit, sys, time
for number in range(1000):
    obskit.init(exporter=sys.argv[1] + '?%d' % (number % 2), integrations=[], flush_interval=0)
    if number % 10 == 0:
        with obskit.span('a'): pass
assert obskit.flush(10)
deadline = time.monotonic() + 10
while {THREADS} > 2 and time.monotonic() < deadline: time.sleep(0.01)
print({THREADS} <= 2, len(os.listdir('/proc/self/fd')) < 20)
"""
    with receiver() as server:
        done = run(code, server.url)
        assert done.stdout == "True True\n", done.stderr
        assert len(server.spans) == 100


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older Pythons start threads until the very end")
def test_spans_whose_first_comes_at_the_end_are_delivered_though_no_thread_can_start():
    code = """
import atexit, sys, obskit
obskit.init(exporter=sys.argv[1], integrations=[])
@atexit.register
def last():
    with obskit.span('a'): pass
"""
    with receiver() as server:
        done = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=60)
        assert (done.stderr, server.names) == ("", ["a"])


def test_a_bad_variable_of_opentelemetrys_is_one_warning_in_the_log_and_the_program_runs():
    code = "import obskit; obskit.init(exporter='none', integrations=[], logs='json'); print('on')"
    done = run(code, OTEL_BSP_SCHEDULE_DELAY="abc")
    assert "on" in done.stdout.splitlines()
    (warning,) = [line for line in done.stdout.splitlines() if "OTEL_BSP_SCHEDULE_DELAY" in line]
    assert '"WARNING"' in warning
