"""The calls that applications make."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.trace import SpanKind

import obskit
from obskit.testing import recording
from obskit.tracing.propagated import NOOP_SPAN

IDS = {"X-B3-TraceId": "00000000000000010000000000000002", "X-B3-SpanId": "000000000000000a", "X-B3-Sampled": "1"}


@pytest.fixture(autouse=True)
def recorder():
    with recording() as found:
        yield found


def test_a_block_is_a_child_span_with_its_tags(recorder):
    with obskit.span("parent") as parent, obskit.span("child", amount=7) as child:
        assert obskit.current_span() is child
    first, second = recorder.take(), recorder.take()
    assert (first, second) == (child, parent)
    assert (first.parent_id, first.tags, first.kind) == (parent.span_id, {"amount": 7}, SpanKind.INTERNAL)


def test_an_exception_leaves_the_block_unchanged_and_is_the_spans_error(recorder):
    error = ValueError("unchanged")
    with pytest.raises(ValueError, match="unchanged") as caught, obskit.span("a"):
        raise error
    assert caught.value is error
    recorder.take(error="ValueError: unchanged")


def test_outside_a_trace_the_current_span_does_nothing():
    span = obskit.current_span()
    assert span is NOOP_SPAN
    span.tag("key", object())
    span.annotate("text")
    span.error(ValueError())
    span.set_attribute("key", 1)
    span.end()
    assert not span.is_recording()


class Unprintable:
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("text", "text"), (7, 7), (1.5, 1.5), (True, True), (None, None), (b"x", b"x"), ([1, "a"], (1, "a")),
        ({"a": 1}, {"a": 1}), ([{}], ({},)), (Unprintable(), "<unprintable Unprintable>"),
    ],
)  # fmt: skip
def test_tags_may_have_any_type(recorder, value, kept):
    with obskit.span("a", key=value) as span:
        span.tag("again", value)
    assert recorder.take().tags == {"key": kept, "again": kept}


def test_tags_may_be_called_as_the_parameters_are(recorder):
    with obskit.span("a", self=1, tags=2):
        pass
    assert recorder.take().tags == {"self": 1, "tags": 2}


# Decorated functions are as they were


def test_a_function_keeps_its_arguments_result_and_identity(recorder):
    @obskit.span("f", fixed=1)
    def function(a, *, b=2):
        """Its own."""
        return a, b, obskit.current_span().name

    assert function(1, b=3) == (1, 3, "f")
    assert (function.__name__, function.__doc__) == ("function", "Its own.")
    assert str(inspect.signature(function)) == "(a, *, b=2)"
    assert recorder.take().tags == {"fixed": 1}


def test_each_call_is_a_span_also_recursive_and_in_threads(recorder):
    @obskit.span("f")
    def function(depth):
        return depth and function(depth - 1)

    function(2)
    spans = [recorder.take() for _ in range(3)]
    assert [span.parent_id for span in spans] == [spans[1].span_id, spans[2].span_id, None]
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(function, [0] * 20))
    assert len({recorder.take().trace_id for _ in range(20)}) == 20


def test_methods_work(recorder):
    class Class:
        @obskit.span("method")
        def method(self):
            return self

        @classmethod
        @obskit.span("class")
        def made(cls):
            return cls

    instance = Class()
    assert instance.method() is instance
    assert Class.made() is Class
    assert [recorder.take().name for _ in range(2)] == ["method", "class"]


def test_a_coroutine_function_stays_one_and_concurrent_calls_do_not_mix(recorder):
    @obskit.span("f")
    async def function(number):
        mine = obskit.current_span()
        await asyncio.sleep(0)
        assert obskit.current_span() is mine
        if number == 3:
            raise KeyError(number)
        return number

    async def main():
        with obskit.span("main"):
            return await asyncio.gather(*map(function, range(5)), return_exceptions=True)

    assert inspect.iscoroutinefunction(function)
    results = asyncio.run(main())
    assert results[:3] == [0, 1, 2]
    assert isinstance(results[3], KeyError)
    spans = [recorder.take(error="KeyError" if number == 3 else None) for number in range(5)]
    parent = recorder.take()
    assert {span.parent_id for span in spans} == {parent.span_id}


def test_a_cancelled_coroutine_ends_its_span(recorder):
    @obskit.span("f")
    async def function():
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(function())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    recorder.take(error="CancelledError")


def echo():
    """Yield what is sent, answer thrown ValueErrors, return the last; a close is seen."""
    last, seen = None, []
    try:
        while last != "return":
            try:
                last = yield last
            except ValueError as error:  # noqa: PERF203
                last = f"caught {error}"
        return "returned"
    finally:
        seen.append("closed")


async def async_echo():
    last = None
    while last != "return":
        try:
            last = yield last
        except ValueError as error:  # noqa: PERF203
            last = f"caught {error}"


def drive(generator):
    """Use a generator in every way; return what happened."""
    happened = [next(generator), generator.send("a"), generator.throw(ValueError("v"))]
    try:
        generator.send("return")
    except StopIteration as stop:
        happened.append(stop.value)
    happened.append(list(generator))
    return happened


@pytest.mark.skipif(sys.version_info < (3, 14), reason="older Pythons evaluate annotations at once")
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_decorating_leaves_annotations_unevaluated_until_somebody_asks(kind, recorder):
    import annotationlib

    names = {"obskit": obskit}
    code = f"@obskit.span('s')\n{kind} function(a: Later, b: int = 1) -> Later: return a"
    exec(compile(code, "<test>", "exec", dont_inherit=True), names)  # not this file's __future__
    function = names["function"]
    assert annotationlib.get_annotations(function, format=annotationlib.Format.STRING) == {
        "a": "Later", "b": "int", "return": "Later",
    }  # fmt: skip
    signature = inspect.signature(function, annotation_format=annotationlib.Format.STRING)
    assert signature.format(quote_annotation_strings=False) == "(a: Later, b: int = 1) -> Later"
    with pytest.raises(NameError):
        _ = function.__annotations__
    names["Later"] = str
    assert inspect.get_annotations(function) == {"a": str, "b": int, "return": str}
    assert inspect.signature(function).return_annotation is str


def test_a_generator_behaves_as_without_the_decorator(recorder):
    decorated = obskit.span("g")(echo)
    assert inspect.isgeneratorfunction(echo)
    assert drive(decorated()) == drive(echo())
    recorder.take()


def test_closing_a_generator_early_is_no_error_and_runs_its_own_cleaning(recorder):
    events = []

    @obskit.span("g")
    def generator():
        try:
            yield obskit.current_span().name
        finally:
            events.append("cleaned")

    running = generator()
    assert next(running) == "g"
    assert obskit.current_span() is NOOP_SPAN
    running.close()
    assert events == ["cleaned"]
    recorder.take()


@pytest.mark.parametrize("use", [next, lambda generator: generator.throw(KeyError("thrown"))])
def test_what_a_generator_raises_or_does_not_catch_comes_out_and_is_the_error(recorder, use):
    @obskit.span("g")
    def generator():
        yield 1
        raise KeyError("raised")

    running = generator()
    next(running)
    with pytest.raises(KeyError):
        use(running)
    recorder.take(error="KeyError")


def test_a_generator_never_started_makes_no_span():
    obskit.span("g")(echo)().close()


def test_interleaved_generators_do_not_mix(recorder):
    @obskit.span("g")
    def generator():
        mine = obskit.current_span()
        for _ in range(3):
            assert obskit.current_span() is mine
            yield

    with obskit.span("outer") as outer:
        for _ in zip(generator(), generator(), strict=True):
            assert obskit.current_span() is outer
    assert [recorder.take().parent_id for _ in range(3)] == [outer.span_id, outer.span_id, None]


def test_an_async_generator_behaves_as_without_the_decorator(recorder):
    async def drive_async(generator):
        happened = [await generator.__anext__(), await generator.asend("a"), await generator.athrow(ValueError("v"))]
        with pytest.raises(StopAsyncIteration):
            await generator.asend("return")
        return [*happened, [item async for item in generator]]

    decorated = obskit.span("g")(async_echo)
    assert asyncio.run(drive_async(decorated())) == asyncio.run(drive_async(async_echo()))
    recorder.take()


def test_closing_an_async_generator_early_is_no_error_and_runs_its_own_cleaning(recorder):
    events = []

    @obskit.span("g")
    async def generator():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            events.append("cleaned")

    async def main():
        running = generator()
        await running.__anext__()
        await asyncio.create_task(running.aclose())  # another task, as event loops do
        with obskit.span("after"):
            pass

    asyncio.run(main())
    assert events == ["cleaned"]
    assert [recorder.take().name for _ in range(2)] == ["g", "after"]


# Transports no integration covers


def test_inject_writes_the_current_trace_and_continue_trace_takes_it_up(recorder):
    with obskit.span("sender") as sender:
        headers = obskit.inject({"other": "kept"})
    assert headers["other"] == "kept"
    with obskit.continue_trace(headers), obskit.span("receiver") as receiver:
        pass
    assert obskit.current_span() is NOOP_SPAN
    assert (receiver.trace_id, receiver.parent_id) == (sender.trace_id, sender.span_id)
    assert [recorder.take().name for _ in range(2)] == ["sender", "receiver"]


@pytest.mark.parametrize(
    "headers",
    [
        IDS,
        {name.lower(): value for name, value in IDS.items()},
        {name.upper(): value for name, value in IDS.items()},
        {name: value.encode() for name, value in IDS.items()},
        [(name, value.encode()) for name, value in IDS.items()],
        [(name.encode(), value) for name, value in IDS.items()],
        IDS | {"X-B3-Sampled": 1, "n": None, "l": [1]},
        {"B3": f"{IDS['X-B3-TraceId']}-{IDS['X-B3-SpanId']}-1"},
        {"TraceParent": f"00-{IDS['X-B3-TraceId']}-{IDS['X-B3-SpanId']}-01"},
    ],
)
def test_a_trace_is_continued_from_any_spelling_and_any_transport(recorder, headers):
    with obskit.continue_trace(headers), obskit.span("a"):
        pass
    span = recorder.take()
    assert (span.trace_id, span.parent_id) == (IDS["X-B3-TraceId"], IDS["X-B3-SpanId"])


@pytest.mark.parametrize("headers", [None, {}, [], {"b3": "garbage"}, {"b3": None}, {5: 6}, {"b3": b"\xff\xfe"}])
def test_headers_without_a_trace_begin_a_new_one_also_inside_another(recorder, headers):
    with obskit.span("outer") as outer, obskit.continue_trace(headers), obskit.span("a") as span:
        pass
    assert span.parent_id is None
    assert span.trace_id != outer.trace_id
    assert [recorder.take() for _ in range(2)] == [span, outer]


def test_an_unsampled_trace_is_continued_unsampled():
    with obskit.continue_trace(IDS | {"X-B3-Sampled": "0"}), obskit.span("a"):
        assert obskit.inject({})["X-B3-Sampled"] == "0"


@pytest.mark.parametrize("kind", ["server", "client", "producer", "consumer"])
def test_a_span_has_the_kind_it_is_given_and_names_the_other_side(recorder, kind):
    @obskit.span("call", kind=kind, remote="stock", item=7)
    def call():
        pass

    call()
    pickle.loads(pickle.dumps(obskit.span("call", kind=kind, remote="stock", item=7)))(call)()
    for span in (recorder.take(), recorder.take(), recorder.take()):
        assert (span.kind.name.lower(), span.tags) == (kind, {"item": 7, "peer.service": "stock"})


def test_a_kind_that_is_none_of_the_four_is_a_tag(recorder):
    for kind in ("gold", "CLIENT", 7):
        with obskit.span("a", kind=kind) as span:
            pass
        assert (recorder.take().kind, span.tags["kind"]) == (SpanKind.INTERNAL, kind)


class Orders:
    @obskit.span
    def charge(self, amount: int) -> int:
        """Charge."""
        return amount

    @obskit.span
    @classmethod
    def made(cls) -> str:
        return cls.__name__

    @obskit.span
    @property
    def total(self) -> int:
        return 3


@obskit.span
async def ship() -> int:
    return 4


def test_a_decorator_without_a_name_takes_the_functions(recorder):
    @obskit.span
    def lines():
        yield 5

    orders = Orders()
    assert (orders.charge(1), Orders.made(), orders.total, asyncio.run(ship()), list(lines())) == (
        1, "Orders", 3, 4, [5],
    )  # fmt: skip
    names = [recorder.take().name for _ in range(5)]
    assert names == ["Orders.charge", "Orders.made", "Orders.total", "ship", "lines"]
    assert (Orders.charge.__doc__, inspect.iscoroutinefunction(ship)) == ("Charge.", True)


def test_a_decorated_class_stays_the_class_it_is_which_is_told(caplog, recorder):
    class Order:
        pass

    assert obskit.span("order")(Order) is Order
    assert isinstance(Order(), Order)
    assert "decorate its methods instead" in caplog.text
