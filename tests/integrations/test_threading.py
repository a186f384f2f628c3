"""The current span and the log fields go where the work goes: into threads, pools and tasks."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import obskit
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.integrations import install
from obskit.logs.context import log_fields
from obskit.testing import recording
from obskit.tracing.current import current_span
from obskit.tracing.propagated import NOOP_SPAN


@pytest.fixture(autouse=True)
def installed():
    originals = threading.Thread.start, ThreadPoolExecutor.submit
    patches, hooks = Patches(), ImportHooks()
    install(["threading"], hooks, patches)
    install(["threading"], hooks, patches)
    yield
    hooks.remove()
    patches.remove()
    assert originals == (threading.Thread.start, ThreadPoolExecutor.submit)


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


@pytest.mark.parametrize("how", ["target", "subclass", "timer", "pool", "map", "to_thread", "executor", "task"])
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
