"""Spans of ``with`` blocks and decorators, in whatever order and wherever the blocks are left."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import pickle
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import obskit
from obskit.testing import Recorder, recording
from obskit.tracing.current import current_span, get_context
from obskit.tracing.span import Span


@pytest.fixture(autouse=True)
def recorder() -> Iterator[Recorder]:
    """Records spans, and holds that none is current before or after a test."""
    with recording() as found:
        assert current_span().span_id is None
        yield found
        assert current_span().span_id is None


def rows(name: str, number: int = 1) -> Iterator[object]:
    """Yield the current span within one of ``name``."""
    with obskit.span(name):
        for _ in range(number):
            yield current_span()


async def async_rows(name: str) -> AsyncIterator[object]:
    """Yield the current span within one of ``name``, twice."""
    with obskit.span(name):
        yield current_span()
        yield current_span()


def taken(recorder: Recorder, number: int) -> dict[str, Span]:
    """Return so many ended spans by name; names are unique in these tests."""
    return {span.name: span for span in (recorder.take() for _ in range(number))}


def test_a_scope_is_a_span_each_time_it_is_entered(recorder: Recorder) -> None:
    scope = obskit.span("again")
    with scope as first:
        with scope as second:
            assert current_span() is second
        assert current_span() is first
    with scope as third:
        pass
    assert [recorder.take(), recorder.take(), recorder.take()] == [second, first, third]
    assert isinstance(second, Span)
    assert (second.parent_id, third.parent_id) == (first.span_id, None)


def test_an_error_in_the_inner_entry_is_not_the_outers_where_it_is_caught(recorder: Recorder) -> None:
    scope = obskit.span("again")
    with scope, contextlib.suppress(LookupError), scope:
        raise LookupError("inner")
    recorder.take(error="inner")
    recorder.take()


def test_a_scope_that_threads_share_is_one_span_in_each(recorder: Recorder) -> None:
    scope, barrier = obskit.span("shared"), threading.Barrier(8)

    def work(_number: int) -> tuple[object, object]:
        barrier.wait(10)
        with scope as mine:
            barrier.wait(10)
            seen = current_span()
            barrier.wait(10)
        return mine, seen

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(work, range(8)))
    assert all(mine is seen for mine, seen in made)
    assert {id(recorder.take()) for _ in made} == {id(mine) for mine, _ in made}


def test_a_scope_that_tasks_share_is_one_span_in_each(recorder: Recorder) -> None:
    scope = obskit.span("shared")

    async def work() -> None:
        with scope as mine:
            await asyncio.sleep(0)
            assert current_span() is mine

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(5)))

    asyncio.run(main())
    assert len({recorder.take().span_id for _ in range(5)}) == 5


def test_leaving_a_scope_that_was_not_entered_does_nothing() -> None:
    obskit.span("never").__exit__(None, None, None)


# Generators with a span's block inside


def zipped() -> None:
    assert len(list(zip(rows("a"), rows("b"), strict=True))) == 1


def round_robin(*order: int) -> None:
    """Read three to their ends, in each order in which they can end."""
    running = [rows(name) for name in "abc"]
    for one in running:
        next(one)
    for number in order:
        assert next(running[number], None) is None
        left = current_span()
        assert not isinstance(left, Span) or left.is_recording()


def dropped(*order: int) -> None:
    running: list[Any] = [rows(name, 2) for name in "abc"]
    for one in running:
        next(one)
    del one
    for number in order:
        running[number] = None
    gc.collect()


def dropped_in_a_cycle() -> None:
    running = rows("a", 2)
    holder: list[object] = [running]
    holder.append(holder)
    next(running)
    del holder, running
    gc.collect()


def closed_in_another_thread() -> None:
    running = rows("a", 2)
    next(running)
    thread = threading.Thread(target=running.close)  # type: ignore[attr-defined]
    thread.start()
    thread.join(10)


def read_in_another_context() -> None:
    running = rows("a", 2)
    context = contextvars.copy_context()
    context.run(next, running)
    running.close()  # type: ignore[attr-defined]
    assert context.run(current_span) is current_span()


def read_in_two_contexts() -> None:
    running = [rows(name, 2) for name in "abc"]
    context = contextvars.copy_context()
    for one in running:
        context.run(next, one)
    for one in (running[1], running[0]):
        one.close()  # type: ignore[attr-defined]
    context.run(running[2].close)  # type: ignore[attr-defined]
    assert context.run(current_span) is current_span()


def one_scope_for_two_generators() -> None:
    scope = obskit.span("shared")

    def run() -> Iterator[None]:
        with scope:
            yield

    list(zip(run(), run(), strict=True))


def broken_off_asynchronously(*order: int) -> None:
    """The event loop closes each in a task of its own."""

    before = current_span()

    async def main() -> None:
        running: list[Any] = [async_rows(name) for name in "abc"]
        for one in running:
            await one.__anext__()
        del one
        for number in order:
            running[number] = None
        for _ in range(10):
            await asyncio.sleep(0)
        assert current_span() is before

    asyncio.run(main())


def closed_in_another_task() -> None:
    before = current_span()

    async def main() -> None:
        running = async_rows("a")
        await running.__anext__()
        await asyncio.create_task(running.aclose())  # type: ignore[attr-defined]
        assert current_span() is before

    asyncio.run(main())


ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
IN_ANY_ORDER = [
    functools.partial(use, *order) for use in (round_robin, dropped, broken_off_asynchronously) for order in ORDERS
]
TIMES_TWO = [zipped, one_scope_for_two_generators]
ONCE = [dropped_in_a_cycle, closed_in_another_thread, read_in_another_context, closed_in_another_task]


@pytest.mark.parametrize(
    ("use", "spans"),
    [
        *((use, 3) for use in [*IN_ANY_ORDER, read_in_two_contexts]),
        *((use, 2) for use in TIMES_TWO),
        *((use, 1) for use in ONCE),
    ],
)
@pytest.mark.parametrize("within", [False, True])
def test_no_ended_span_stays_current(use: Callable[[], None], spans: int, within: bool, recorder: Recorder) -> None:
    """Each ends once, and what was current before is current after, whether that is a span or none."""
    with obskit.span("around") if within else contextlib.nullcontext():
        before = current_span()
        use()
        assert current_span() is before
    for _ in range(spans + within):
        assert not recorder.take().is_recording()


def test_closing_a_generator_in_another_request_does_not_bring_its_own_request_back(recorder: Recorder) -> None:
    with obskit.span("first"):
        running = rows("rows", 2)
        next(running)
    with obskit.span("second") as second:
        running.close()  # type: ignore[attr-defined]
        assert current_span() is second
    taken(recorder, 3)


def test_a_block_restores_what_was_current_though_a_generator_within_is_still_open(recorder: Recorder) -> None:
    with obskit.span("outer"):
        running = rows("rows", 2)
        next(running)
    assert current_span().span_id is None
    running.close()  # type: ignore[attr-defined]
    taken(recorder, 2)


def test_a_task_that_starts_the_next_one_within_its_span_holds_none_that_were_before(recorder: Recorder) -> None:
    contexts: list[weakref.ref[Any]] = []

    def tick() -> contextvars.Context:
        with obskit.span("tick"):
            contexts.append(weakref.ref(get_context()))
            return contextvars.copy_context()

    following = contextvars.copy_context()
    for _ in range(50):
        following = following.run(tick)
        recorder.take()
    gc.collect()
    assert sum(context() is not None for context in contexts) == 1


def test_breaking_generators_off_for_ever_holds_none_that_were_before(recorder: Recorder) -> None:
    """Each begins where the one before has left its context as the task's."""
    contexts: list[weakref.ref[Any]] = []

    async def main() -> None:
        for _ in range(50):
            running = async_rows("rows")
            await running.__anext__()
            contexts.append(weakref.ref(get_context()))
            del running
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        gc.collect()
        assert sum(context() is not None for context in contexts) < 4

    with obskit.span("around"):
        asyncio.run(main())
    taken(recorder, 51)


# Decorators


def plain(a: int, /, b: int = 2, *args: int, c: int = 3, **kwargs: int) -> tuple[object, ...]:
    """Say what arrived."""
    return a, b, args, c, kwargs


async def coroutine(a: int, /, b: int = 2, *args: int, c: int = 3, **kwargs: int) -> tuple[object, ...]:
    return a, b, args, c, kwargs


def generator(a: int, /, b: int = 2, *args: int, c: int = 3, **kwargs: int) -> Iterator[tuple[object, ...]]:
    yield a, b, args, c, kwargs


async def async_generator(a: int, /, b: int = 2, *args: int, c: int = 3, **kwargs: int) -> AsyncIterator[object]:
    yield a, b, args, c, kwargs


async def keyword_only(*, call_: int) -> tuple[object, ...]:
    return (call_,)


KINDS = [inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]


async def _result(made: Any) -> Any:
    if inspect.isasyncgen(made):
        return await anext(made)
    return next(made) if inspect.isgenerator(made) else await made if inspect.iscoroutine(made) else made


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_a_decorated_function_is_of_the_kind_that_it_was(function: Callable[..., Any], recorder: Recorder) -> None:
    decorated = obskit.span("call")(function)
    assert [kind(decorated) for kind in KINDS] == [kind(function) for kind in KINDS]
    assert inspect.signature(decorated) == inspect.signature(function)
    assert asyncio.run(_result(decorated(1, 5, 6, c=7, d=8))) == (1, 5, (6,), 7, {"d": 8})
    assert asyncio.run(_result(decorated(1))) == (1, 2, (), 3, {})
    gc.collect()
    taken(recorder, 2)


def test_a_decorated_object_keeps_its_methods(recorder: Recorder) -> None:
    class Counter:
        count = 0
        step = 1

        def __call__(self) -> int:
            self.count += 1
            return self.count

        def reset(self) -> None:
            self.count = 0

        @property
        def odd(self) -> int:
            raise RuntimeError

    cached, counter = obskit.span("call")(functools.lru_cache(plain)), obskit.span("call")(Counter())
    assert cached(1) == cached(1)
    assert (cached.cache_info().hits, cached.cache_clear(), cached.cache_info().currsize) == (1, None, 0)
    assert (counter(), counter(), counter.reset(), counter()) == (1, 2, None, 1)
    assert counter.step == 1
    taken(recorder, 5)


@pytest.mark.parametrize("function", [plain, coroutine, generator, keyword_only])
def test_wrong_arguments_raise_when_the_function_is_called(function: Callable[..., Any], recorder: Recorder) -> None:
    """uvicorn calls an application without any to see whether it is a factory."""
    for arguments in ({}, {"a": 1, "e": 2}):
        with pytest.raises(TypeError):
            obskit.span("call")(function)(**arguments)
    if function is plain:
        recorder.take(error="missing 1 required positional argument")
        recorder.take(error="missing 1 required positional argument")


class Methods:
    """What a class may hold, decorated."""

    @obskit.span("method")
    def method(self) -> object:
        return current_span()

    @obskit.span("class")
    @classmethod
    def of_class(cls) -> object:
        return current_span() if cls is Methods else None

    @obskit.span("static")
    @staticmethod
    def static() -> object:
        return current_span()

    @obskit.span("property")
    @property
    def value(self) -> object:
        """A value."""
        return current_span()

    @obskit.span("kept")
    @functools.cached_property
    def kept(self) -> object:
        return current_span()

    @obskit.span("partial")  # type: ignore[type-var] # no callable, but what makes one
    @functools.partialmethod
    def part(self) -> object:
        return current_span()

    async def __call__(self) -> object:
        await asyncio.sleep(0)
        return current_span()


def test_methods_of_every_kind_can_be_decorated(recorder: Recorder) -> None:
    one = Methods()
    properties = (lambda: one.value, lambda: one.kept)
    for use in (one.method, one.of_class, Methods.of_class, one.static, Methods.static, one.part, *properties):
        assert use() is recorder.take()
    assert Methods.value.__doc__ == "A value."


def test_a_generator_that_is_a_coroutine_can_still_be_awaited(recorder: Recorder) -> None:
    @obskit.span("old")
    @types.coroutine
    def old() -> Iterator[object]:
        yield from asyncio.sleep(0).__await__()
        return current_span()

    async def awaits() -> object:
        return await old()

    assert asyncio.run(awaits()) is recorder.take()


def test_an_object_whose_call_is_asynchronous_is_a_span_until_it_returns(recorder: Recorder) -> None:
    decorated = obskit.span("object")(Methods())
    assert asyncio.run(decorated()) is recorder.take()


@obskit.span("module", size=3)
def of_this_module() -> object:
    """Be found by name."""
    return current_span()


def test_scopes_and_decorated_functions_can_be_copied_and_pickled(recorder: Recorder) -> None:
    for scope in (copy.copy(MODULE), copy.deepcopy(MODULE), pickle.loads(pickle.dumps(MODULE))):
        with scope as span:
            pass
        assert recorder.take() is span
        assert (span.name, span.tags) == ("kept", {"size": 3})
    assert pickle.loads(pickle.dumps(of_this_module)) is of_this_module


MODULE = obskit.span("kept", size=3)
SENDS = """
import cloudpickle, sys, obskit
obskit.init(exporter="none", logs="off")

@obskit.span("plain", a=1)
def plain(x): return x
@obskit.span("generator")
def generator(x): yield x
@obskit.span("coroutine")
async def coroutine(x): return x
@obskit.span("asynchronous")
async def asynchronous(x): yield x

sys.stdout.buffer.write(cloudpickle.dumps([plain, generator, coroutine, asynchronous]))
"""


def test_decorated_functions_of_a_main_program_reach_other_processes(tmp_path: Path, recorder: Recorder) -> None:
    """As dask, ray and joblib send them."""
    (tmp_path / "app.py").write_text(SENDS)
    sent = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    for function in pickle.loads(sent.stdout):
        assert asyncio.run(_result(function(7))) == 7
    gc.collect()
    assert taken(recorder, 4).keys() == {"plain", "generator", "coroutine", "asynchronous"}


def test_the_cleaning_of_a_decorated_generator_that_is_broken_off_runs_in_its_span(recorder: Recorder) -> None:
    seen: list[object] = []

    @obskit.span("rows")
    def decorated() -> Iterator[int]:
        try:
            yield 1
        finally:
            seen.append(current_span())

    @obskit.span("rows")
    async def decorated_async() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append(current_span())

    async def main() -> None:
        running = decorated_async()
        await running.__anext__()
        await running.aclose()  # type: ignore[attr-defined]

    for _ in decorated():
        break
    gc.collect()
    asyncio.run(main())
    assert seen == [recorder.take(), recorder.take()]


def test_an_exception_whose_class_cannot_be_asked_leaves_the_block_as_it_is(recorder: Recorder) -> None:
    class Odd(Exception):
        @property
        def __class__(self) -> Any:
            raise RuntimeError

    with pytest.raises(Odd), obskit.span("a"):
        raise Odd("odd")
    assert recorder.take(error="Odd: odd").name == "a"
