"""The current span and the log fields go where the work goes: into threads, pools and tasks."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import re
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

import obskit
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.integrations import install
from obskit.logs.context import log_fields
from obskit.propagation import mesh
from obskit.testing import recording
from obskit.tracing.current import current_span, get_context
from obskit.tracing.propagated import NOOP_SPAN
from tests.installed import need

PATCHED = [
    (threading.Thread, "start"),
    (threading.Thread, "_bootstrap_inner"),
    (ThreadPoolExecutor, "submit"),
    (ProcessPoolExecutor, "submit"),
    *(
        (multiprocessing.pool.Pool, name)
        for name in ("__init__", "apply_async", "_map_async", "imap", "imap_unordered")
    ),
]


UNPATCHED = threading.Thread._bootstrap_inner


@pytest.fixture(autouse=True)
def installed():
    originals = [getattr(owner, name) for owner, name in PATCHED]
    patches, hooks = Patches(), ImportHooks()
    install(["threading"], hooks, patches)
    install(["threading"], hooks, patches)
    yield
    hooks.remove()
    patches.remove()
    assert originals == [getattr(owner, name) for owner, name in PATCHED]


def look():
    """What code sees where it runs."""
    return current_span(), dict(log_fields())


class Subclass(threading.Thread):
    """A thread that overrides ``run``, as libraries do."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def run(self):
        self.seen.append(look())


class Frozen(Subclass):
    """A thread whose attributes cannot be set any more when it starts."""

    def __init__(self, seen):
        super().__init__(seen)
        self.frozen = True

    def __setattr__(self, name, value):
        if getattr(self, "frozen", False) and not name.startswith("_"):
            raise AttributeError(name)
        super().__setattr__(name, value)


class Property(threading.Thread):
    """A thread whose ``run`` is made anew each time."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    @property
    def run(self):
        return lambda: self.seen.append(look())


class Slots(Subclass):
    __slots__ = ("extra",)


class Starting(Subclass):
    """A thread that starts itself."""

    def __init__(self, seen):
        super().__init__(seen)
        super().start()

    def start(self):
        pass


def with_own_run(seen):
    """Return a thread whose program has set ``run`` on it."""
    thread = threading.Thread()
    thread.run = lambda: seen.append(look())
    return thread


ODD_THREADS = [Subclass, Frozen, Property, Slots, Starting, with_own_run]


@pytest.mark.parametrize("kind", ODD_THREADS)
def test_a_thread_of_any_shape_carries_the_context_and_keeps_its_attributes(kind):
    def attributes(thread):
        return {name for name in vars(thread) if not name.startswith("_")}

    seen, plain = [], attributes(kind([]))
    with recording() as spans:
        with obskit.span("work") as span:
            thread = kind(seen)
            thread.start()
            thread.join(10)
        assert seen == [(span, {})]
        assert attributes(thread) == plain
        spans.take()


def test_a_thread_that_does_not_start_leaves_nothing_behind_for_another_one():
    class Uninitialised(threading.Thread):
        def __init__(self):
            pass

    with recording() as spans:
        with obskit.span("work"):
            for thread in (Uninitialised(), ended()):
                with pytest.raises(RuntimeError):
                    thread.start()
        spans.take()
    assert obskit.integrations.threading._starting == {}


def test_a_thread_that_begins_with_a_reference_of_before_leaves_nothing_behind():
    class Early(Subclass):
        def _bootstrap_inner(self):
            UNPATCHED(self)

    seen = []
    with recording() as spans:
        with obskit.span("work"):
            thread = Early(seen)
            thread.start()
            thread.join(10)
        spans.take()
    assert seen == [(NOOP_SPAN, {})]
    assert obskit.integrations.threading._starting == {}


def ended():
    thread = threading.Thread()
    thread.start()
    thread.join(10)
    return thread


POOLED = {
    "apply": lambda pool, work: pool.apply(work),
    "apply_async": lambda pool, work: pool.apply_async(func=work).get(10),
    "pool_map": lambda pool, work: pool.map(lambda _: work(), [1]),
    "map_async": lambda pool, work: pool.map_async(lambda _: work(), [1]).get(10),
    "starmap": lambda pool, work: pool.starmap(lambda _: work(), [(1,)]),
    "imap": lambda pool, work: list(pool.imap(lambda _: work(), [1])),
    "imap in chunks": lambda pool, work: list(pool.imap(lambda _: work(), [1], chunksize=2)),
    "imap_unordered": lambda pool, work: list(pool.imap_unordered(func=lambda _: work(), iterable=[1])),
}


@pytest.mark.parametrize(
    "how", ["target", "subclass", "timer", "pool", "map", "to_thread", "executor", "task", *POOLED]
)
def test_work_handed_over_sees_the_span_and_the_fields(how):
    seen = []

    def work():
        seen.append(look())

    async def in_loop():
        if how == "to_thread":
            await asyncio.to_thread(work)
        elif how == "executor":
            await asyncio.get_running_loop().run_in_executor(None, work)
        else:
            await asyncio.create_task(asyncio.sleep(0, work()))

    def hand_over():
        if how in ("pool", "map"):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(work).result() if how == "pool" else list(pool.map(lambda _: work(), [1]))
        elif how in POOLED:
            with ThreadPool(1) as pool:
                POOLED[how](pool, work)
        elif how in ("to_thread", "executor", "task"):
            asyncio.run(in_loop())
        else:
            kinds = {
                "target": threading.Thread(target=work),
                "subclass": Subclass(seen),
                "timer": threading.Timer(0, work),
            }
            thread = kinds[how]
            thread.start()
            thread.join()

    with recording() as spans:
        with obskit.log_context(order_id=7), obskit.span("work") as span:
            hand_over()
        assert seen == [(span, {"order_id": 7})]
        spans.take()


def test_a_pools_thread_keeps_nothing_of_the_task_before():
    with recording() as spans, ThreadPoolExecutor(1) as pool:
        pool.submit(look).result()
        with obskit.span("work") as span:
            assert pool.submit(look).result()[0] is span
        spans.take()
        assert pool.submit(look).result() == (NOOP_SPAN, {})


def test_results_errors_and_arguments_are_the_applications_own():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert pool.submit(dict, fn=1, self=2).result() == {"fn": 1, "self": 2}
        error = ValueError("bad")

        def fail():
            raise error

        assert pool.submit(fail).exception() is error
    with pytest.raises(TypeError):
        ThreadPoolExecutor.submit()
    thread = threading.Thread(target=look)
    thread.start()
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        thread.start()
    thread.join()


def test_an_ended_thread_is_freed_at_once():
    gc.disable()
    try:
        with recording() as spans:
            with obskit.span("work"):
                thread = threading.Thread(target=look)
                thread.start()
                thread.join()
            spans.take()
        gone = weakref.ref(thread)
        del thread
        assert gone() is None
    finally:
        gc.enable()


POOLS = {
    "ThreadPool": ThreadPool,
    "ThreadPoolExecutor": ThreadPoolExecutor,
    "fork pool": multiprocessing.get_context("fork").Pool,
    "spawn pool": multiprocessing.get_context("spawn").Pool,
    "ProcessPoolExecutor": lambda size: ProcessPoolExecutor(size, multiprocessing.get_context("fork")),
}


def do(pool, function, *args):
    """Run a function on a pool of any kind."""
    return pool.apply(function, args) if hasattr(pool, "apply") else pool.submit(function, *args).result(30)


def look_as_plain_data():
    span = current_span()
    return span.trace_id, span.span_id, span.sampled, dict(log_fields()), mesh.of(get_context())


def unlucky(error):
    raise error


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", POOLS)
def test_what_a_pool_runs_belongs_to_who_submits_it_and_not_to_who_made_the_pool(kind, monkeypatch):
    # Spawned processes import this file; where the wheel is tested, the checkout is not on the path.
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent.parent.parent)])
    pools = []
    with recording() as spans, ExitStack() as closing:
        for name, sampled in (("alice", "0"), ("bob", "1"), (None, None)):
            headers = {"x-request-id": name, "b3": f"{'abcdef'[len(pools)] * 32}-{'b' * 16}-{sampled}"}
            with ExitStack() as request:
                if name is not None:
                    request.enter_context(obskit.continue_trace(headers))
                    request.enter_context(obskit.log_context(user=name, lock=threading.Lock()))
                if not pools:
                    pools.append(closing.enter_context(POOLS[kind](1)))
                here = look_as_plain_data()
                found = do(pools[0], look_as_plain_data)
                assert found[:3] == here[:3]
                assert found[3].get("user") == name
                assert found[4] == here[4]
            with pytest.raises(ZeroDivisionError, match="mine"):
                do(pools[0], unlucky, ZeroDivisionError("mine"))
        spans.assert_empty()


LOKY = """
from importlib import import_module
import obskit
obskit.init(exporter="none", logs="off")
executor = import_module(sys.argv[1])
def look():
    return obskit.current_span().trace_id
with executor.get_reusable_executor(1) as pool:
    for _ in range(2):
        with obskit.span("order") as order:
            assert pool.submit(look).result(60) == pool.submit(lambda: look()).result(60) == order.trace_id
            assert list(pool.map(abs, [1, -2])) == [1, 2]
    assert pool.submit(look).result(60) != order.trace_id
"""


@pytest.mark.parametrize("module", ["joblib.externals.loky", "loky"])
def test_loky_carries_the_trace_into_its_processes_as_joblib_starts_them(module):
    need(module)
    code = f"import sys\n{LOKY}print(obskit.shutdown(unpatch=True), executor.ProcessPoolExecutor.submit.__module__)"
    done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == (f"True {module}.process_executor\n", "")


def test_what_a_process_cannot_take_fails_as_it_does_without_us():
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        with pytest.raises(Exception) as plain:  # noqa: PT011 - AttributeError or PicklingError, by version
            pool.submit(lambda: 1).result(30)
        with obskit.continue_trace({"b3": f"{'a' * 32}-{'b' * 16}-1"}), pytest.raises(type(plain.value)) as carried:
            pool.submit(lambda: 1).result(30)
        said, expected = (re.sub(r"<lambda>|0x\w+", "", str(error.value)) for error in (carried, plain))
        assert said == expected
        assert pool.submit(divmod, 7, 2).result(30) == (3, 1)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="a class of CPython 3.14")
def test_calls_of_other_interpreters_work_as_ever():
    from concurrent.futures import InterpreterPoolExecutor

    with obskit.continue_trace({"b3": f"{'a' * 32}-{'b' * 16}-1"}), InterpreterPoolExecutor(1) as pool:
        assert pool.submit(divmod, 7, 2).result(30) == (3, 1)
        assert list(pool.map(abs, [-1, 2])) == [1, 2]


GREEN = """
import json, sys
%s
import obskit
def look():
    return obskit.current_span().trace_id, obskit.inject({}).get("x-request-id")
found = {}
with obskit.continue_trace({"b3": "%s-%s-1", "x-request-id": "alice"}):
    %s
found["afterwards"] = %s
with obskit.continue_trace({"x-request-id": "bob"}), obskit.span("own"):
    found["of the pool"] = pool.%s(look).%s()[1]
json.dump(found, sys.stdout)
"""

GEVENT = """
    raw = []
    gevent.spawn_raw(lambda: raw.append(look()))
    found["spawn"] = gevent.spawn(look).get()
    found["spawn_later"] = gevent.spawn_later(0, look).get()
    found["raw"] = raw[0]
    started = gevent.Greenlet(look)
    started.start()
    found["start"] = started.get()
    found["pool"] = pool.apply(look)
    found["map"] = pool.map(lambda _: look(), [1])[0]
    found["imap"] = list(pool.imap(lambda _: look(), [1]))[0]
    found["threadpool"] = gevent.get_hub().threadpool.apply(look)
    found["thread"] = []
    thread = threading.Thread(target=lambda: found["thread"].extend(look()))
    thread.start()
    thread.join()
"""

EVENTLET = """
    raw = []
    eventlet.spawn_n(lambda: raw.append(look()))
    found["spawn"] = eventlet.spawn(look).wait()
    found["spawn_after"] = eventlet.spawn_after(0, look).wait()
    found["raw"] = raw[0]
    found["pool"] = pool.spawn(look).wait()
    pool.spawn_n(lambda: raw.append(look()))
    pool.waitall()
    found["pool_n"] = raw[1]
    found["imap"] = list(pool.imap(lambda _: look(), [1]))[0]
    found["threadpool"] = tpool.execute(look)
    found["thread"] = []
    thread = threading.Thread(target=lambda: found["thread"].extend(look()))
    thread.start()
    thread.join()
"""

INIT = "import obskit; obskit.init(exporter='none', logs='off')"
PATCH_GEVENT = "from gevent import monkey; monkey.patch_all()"
USE_GEVENT = "import gevent, gevent.pool, threading; pool = gevent.pool.Pool(1)"
PATCH_EVENTLET = "import eventlet; eventlet.monkey_patch()"
USE_EVENTLET = "import eventlet, threading; from eventlet import tpool; pool = eventlet.GreenPool(1)"


@pytest.mark.parametrize("first", ["init", "patching"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_carry_the_context_as_threads_do(library, first):
    need(library)
    trace_id = "a" * 32
    patch, use, body, afterwards, get = {
        "gevent": (PATCH_GEVENT, USE_GEVENT, GEVENT, "gevent.spawn(look).get()", "get"),
        "eventlet": (PATCH_EVENTLET, USE_EVENTLET, EVENTLET, "eventlet.spawn(look).wait()", "wait"),
    }[library]
    setting_up = "\n".join([INIT, patch, use] if first == "init" else [patch, INIT, use])
    code = GREEN % (setting_up, trace_id, "b" * 16, body, afterwards, "spawn", get)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found.pop("afterwards"), found.pop("of the pool")) == ([None, None], "bob")
    assert {key: value for key, value in found.items() if value != [trace_id, "alice"]} == {}
    assert len(found) >= 8
