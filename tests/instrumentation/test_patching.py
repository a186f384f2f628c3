"""The patching engine: what it wraps, what it lets through, and how it goes away again."""

from __future__ import annotations

import asyncio
import copy
import functools
import importlib
import inspect
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import MethodType, ModuleType
from typing import Any

import pytest
import wrapt
from opentelemetry.trace import SpanKind

from obskit.base.failures import failures
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patches
from obskit.integrations import MODULES
from obskit.testing import Recorder, recording
from obskit.tracing.current import current_span

Calls = list[str]


class Base:
    """What is patched; every test has copies of it, see ``base`` and ``sub``."""

    def method(self, number: int = 1) -> tuple[object, int]:
        return self, number

    @classmethod
    def class_method(cls, number: int = 1) -> tuple[object, int]:
        return cls, number

    @staticmethod
    def static_method(number: int = 1) -> tuple[object, int]:
        return None, number


@pytest.fixture
def base() -> type[Base]:
    """A new class."""
    return type("Base", (), {name: value for name, value in vars(Base).items() if name.endswith("method")})


@pytest.fixture
def sub(base: type[Base]) -> type[Base]:
    """A class that inherits all of it."""
    return type("Sub", (base,), {})


@pytest.fixture
def patches() -> Iterator[Patches]:
    """Patches that are undone after the test."""
    found = Patches()
    yield found
    found.remove()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Records spans."""
    with recording() as found:
        yield found


def noting(calls: Calls, name: str = "seen") -> Callable[..., Any]:
    """Return a wrapper that notes its calls."""

    def wrapper(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append(name)
        return wrapped(*args, **kwargs)

    return wrapper


def before(_instance: Any, _args: Any, _kwargs: Any) -> ClientExchange | None:
    return begin("GET", "http://host/path", None)


def after(exchange: ClientExchange, _result: Any) -> None:
    exchange.finish()


@pytest.mark.parametrize("name", ["method", "class_method", "static_method"])
@pytest.mark.parametrize("inherited", [False, True])
def test_patched_function_is_called_as_ever_and_restored(
    base: type[Base], sub: type[Base], patches: Patches, name: str, inherited: bool
) -> None:
    """By identity where it was the class's own, and by deletion where it was inherited."""
    owner = sub if inherited else base
    raw = {cls: vars(cls).get(name) for cls in (base, sub)}
    instance = sub()
    plain = getattr(instance, name)(2)
    calls: Calls = []
    patches.wrap(owner, name, noting(calls))
    assert getattr(instance, name)(number=2) == plain
    if name != "method":
        assert getattr(sub, name)(2) == plain
    assert calls == ["seen"] * (1 if name == "method" else 2)
    patches.remove()
    assert getattr(instance, name)(2) == plain
    assert {cls: vars(cls).get(name) for cls in (base, sub)} == raw
    assert (name in vars(sub)) is False
    assert len(calls) == (1 if name == "method" else 2)


def test_patch_of_an_inherited_method_leaves_the_base_alone(
    base: type[Base], sub: type[Base], patches: Patches
) -> None:
    calls: Calls = []
    patches.wrap(sub, "class_method", noting(calls))
    base.class_method()
    assert calls == []
    assert type("SubSub", (sub,), {}).class_method()[0] is not sub
    assert calls == ["seen"]


def test_unbound_call_has_its_instance(base: type[Base], patches: Patches) -> None:
    """As subclasses written before ``super()`` make it."""
    patches.wrap(base, "method", noting([]))
    instance = base()
    assert base.method(instance, 2) == (instance, 2)


def test_override_that_calls_super_goes_through_both(base: type[Base], patches: Patches) -> None:
    class Override(base):  # type: ignore[valid-type, misc]
        def method(self, number: int = 1) -> tuple[object, int]:
            return super().method(number + 1)

    calls: Calls = []
    patches.wrap(base, "method", noting(calls, "base"))
    patches.wrap(Override, "method", noting(calls, "override"))
    assert Override().method(1)[1] == 2
    assert calls == ["override", "base"]


def test_wrapping_twice_is_wrapping_once(base: type[Base], patches: Patches) -> None:
    calls: Calls = []
    patches.wrap(base, "method", noting(calls))
    patches.wrap(base, "method", noting(calls))
    base().method()
    assert calls == ["seen"]
    assert patches.targets() == [(base, "method")]
    assert patches.names() == ["Base.method"]


class _Slow(type):
    """Classes whose attributes are set so slowly that other threads get in between."""

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, value)
        threading.Event().wait(0.01)


def test_wrapping_in_many_threads_at_once_is_wrapping_once(patches: Patches) -> None:
    owner = _Slow("Owner", (), {"method": lambda self: None})
    calls: Calls = []
    barrier = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        wraps = [pool.submit(_wrap_together, barrier, patches, owner, noting(calls)) for _ in range(8)]
        assert [wrap.result(10) for wrap in wraps] == [None] * 8
    owner().method()
    assert calls == ["seen"]


def _wrap_together(barrier: threading.Barrier, patches: Patches, owner: Any, wrapper: Any) -> None:
    barrier.wait(10)
    patches.wrap(owner, "method", wrapper)


def test_wrapping_again_below_another_wrapper_is_wrapping_once(base: type[Base], patches: Patches) -> None:
    """A wrapper of somebody else's on top, which says what it wraps, hides nothing."""
    calls: Calls = []
    patches.wrap(base, "method", noting(calls))
    ours = base.method
    base.method = functools.wraps(ours)(lambda self, number=1: ours(self, number))  # type: ignore[method-assign]
    wrapt.wrap_function_wrapper(base, "method", noting(calls, "theirs"))
    patches.wrap(base, "method", noting(calls))
    base().method()
    assert calls == ["theirs", "seen"]


def test_function_that_was_replaced_is_wrapped_again_and_not_doubled(base: type[Base], patches: Patches) -> None:
    """A plain assignment hides what it calls: we wrap it, and the wrapper below stops acting."""
    calls: Calls = []
    patches.wrap(base, "method", noting(calls))
    earlier = base.method
    base.method = lambda self: (earlier(self), 1)  # type: ignore[method-assign, misc, assignment]
    patches.wrap(base, "method", noting(calls))
    base().method()
    assert calls == ["seen"]
    patches.remove()
    base().method()
    assert calls == ["seen"]


@pytest.mark.parametrize("theirs", ["wrapt", "assignment"])
def test_removal_leaves_what_others_wrapped_over_us(base: type[Base], patches: Patches, theirs: str) -> None:
    """Theirs still acts, ours does not, and when theirs goes nothing of ours comes back to life."""
    calls: Calls = []
    patches.wrap(base, "method", noting(calls, "ours"))
    ours = vars(base)["method"]
    if theirs == "wrapt":
        wrapt.wrap_function_wrapper(base, "method", noting(calls, "theirs"))
    else:
        base.method = lambda self: (calls.append("theirs"), ours(self))[1]  # type: ignore[method-assign, misc, assignment]
    kept = vars(base)["method"]
    base().method()
    patches.remove()
    assert vars(base)["method"] is kept
    base().method()
    assert calls == ["theirs", "ours", "theirs"]
    base.method = ours  # type: ignore[method-assign]
    instance = base()
    assert instance.method() == (instance, 1)
    assert calls == ["theirs", "ours", "theirs"]


def test_patching_and_removing_many_times_leaves_no_layers(base: type[Base], patches: Patches) -> None:
    calls: Calls = []
    original = vars(base)["method"]
    for _ in range(3):
        patches.wrap(base, "method", noting(calls))
        base().method()
        patches.remove()
        assert vars(base)["method"] is original
    assert calls == ["seen"] * 3


def test_undoing_runs_last_first(base: type[Base], patches: Patches) -> None:
    calls: Calls = []
    patches.on_remove(lambda: calls.append("first"))
    patches.on_remove(lambda: calls.append("second"))
    patches.remove()
    patches.remove()
    assert calls == ["second", "first"]


def test_functions_of_modules_can_be_patched(patches: Patches) -> None:
    module = ModuleType("made")
    module.function = original = lambda: "real"  # type: ignore[attr-defined]
    calls: Calls = []
    patches.wrap(module, "function", noting(calls))
    assert module.function() == "real"
    patches.remove()
    assert (calls, module.function) == (["seen"], original)


def test_missing_function_is_named(base: type[Base], patches: Patches) -> None:
    with pytest.raises(AttributeError, match=r"Base.*no 'nothing' to patch"):
        patches.wrap(base, "nothing", noting([]))
    assert patches.targets() == []


def test_call_is_a_span_that_is_current_in_it(base: type[Base], patches: Patches, recorder: Recorder) -> None:
    seen: list[Any] = []
    base.method = lambda self: seen.append(current_span())  # type: ignore[method-assign, misc, assignment]
    patches.around(base, "method", before, after)
    base().method()
    assert seen == [recorder.take(SpanKind.CLIENT)]


def test_call_within_a_call_is_the_same_span(base: type[Base], patches: Patches, recorder: Recorder) -> None:
    class Override(base):  # type: ignore[valid-type, misc]
        def method(self, number: int = 1) -> tuple[object, int]:
            return super().method(number)

    patches.around(base, "method", before, after)
    patches.around(Override, "method", before, after)
    Override().method()
    recorder.take(SpanKind.CLIENT)


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises ``error``."""

    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    return fail


def late_failure(*args: Any) -> ClientExchange | None:
    """Begin, and only then fail."""
    before(*args)
    raise LookupError("ours")


@pytest.mark.parametrize("broken", [raising(LookupError("ours")), late_failure])
def test_failure_before_the_call_is_not_the_callers(
    base: type[Base], patches: Patches, recorder: Recorder, broken: Callable[..., Any]
) -> None:
    """Nothing stays current either; a span that was begun ends."""
    patches.around(base, "method", broken, after)
    counted = failures.value
    instance = base()
    assert instance.method(2) == (instance, 2)
    assert failures.value == counted + 1
    assert current_span().span_id is None
    if broken is late_failure:
        recorder.take(SpanKind.CLIENT)


def test_failure_after_the_call_is_not_the_callers_and_ends_the_span(
    base: type[Base], patches: Patches, recorder: Recorder
) -> None:
    patches.around(base, "method", before, raising(LookupError("ours")))
    counted = failures.value
    instance = base()
    assert instance.method(2) == (instance, 2)
    assert failures.value == counted + 1
    recorder.take(SpanKind.CLIENT)


def test_exchange_that_is_over_changes_no_more(recorder: Recorder) -> None:
    """From its end on a span belongs to the exporters."""
    exchange = before(None, (), {})
    assert exchange is not None
    exchange.finish()
    exchange.status = 500
    exchange.finish(LookupError("late"))
    assert "http.status_code" not in recorder.take(SpanKind.CLIENT).tags


def test_status_that_is_no_number_does_not_lose_the_span(
    base: type[Base], patches: Patches, recorder: Recorder
) -> None:
    """Mocks of responses have any status."""

    def odd(exchange: ClientExchange, _result: Any) -> None:
        exchange.status = object()  # type: ignore[assignment]
        exchange.finish()

    patches.around(base, "method", before, odd)
    counted = failures.value
    base().method()
    assert failures.value == counted + 1
    recorder.take(SpanKind.CLIENT)


@pytest.mark.parametrize("error", [LookupError("mine"), KeyboardInterrupt("mine"), GeneratorExit("mine")])
def test_exception_of_the_application_passes_as_the_same_object(
    patches: Patches, recorder: Recorder, error: BaseException
) -> None:
    owner = type("Owner", (), {"method": raising(error), "coroutine": _async_raising(error)})
    patches.around(owner, "method", before, after)
    patches.around_async(owner, "coroutine", before, after)
    for call in (owner().method, lambda: _drive(owner().coroutine())):  # type: ignore[attr-defined]
        with pytest.raises(type(error)) as raised:
            call()
        assert raised.value is error
        recorder.take(SpanKind.CLIENT, error="mine")
        assert current_span().span_id is None


def _async_raising(error: BaseException) -> Callable[..., Any]:
    async def fail(_self: object) -> None:
        raise error

    return fail


def _drive(coroutine: Any) -> None:
    coroutine.send(None)


def test_coroutine_function_is_a_span_while_it_runs(patches: Patches, recorder: Recorder) -> None:
    class Owner:
        async def method(self) -> object:
            await asyncio.sleep(0)
            return current_span()

    patches.around_async(Owner, "method", before, after)
    assert asyncio.run(Owner().method()) is recorder.take(SpanKind.CLIENT)


class Kinds:
    """One of each kind that can be patched, all of them at module level, where pickle looks for them."""

    def method(self, number: int = 1) -> int:
        """Do what a method does."""
        return number

    async def coroutine(self, number: int = 1) -> int:
        return number

    @classmethod
    def class_method(cls, number: int = 1) -> int:
        return number

    @staticmethod
    def static_method(number: int = 1) -> int:
        return number


@pytest.mark.parametrize("name", [name for name in vars(Kinds) if not name.startswith("__")])
def test_what_stands_in_is_of_the_kind_that_it_replaces(patches: Patches, name: str) -> None:
    """Whoever asks inspect, copies or pickles it, or an object that keeps it, sees no difference."""
    calls: Calls = []

    def facts() -> list[object]:
        found = getattr(Kinds(), name)
        kinds = [inspect.ismethod, inspect.isroutine, inspect.iscoroutinefunction, inspect.signature, inspect.getdoc]
        copied = [getattr(pickle.loads(pickle.dumps(found)), "__func__", found), copy.deepcopy([found])[0]]
        names = [getattr(found, kept, None) for kept in ("__name__", "__qualname__", "__module__")]
        return [*(kind(found) for kind in kinds), *(type(one) is type(found) for one in copied), *names]

    before = facts()
    patches.wrap(Kinds, name, noting(calls))
    assert facts() == before
    result = getattr(Kinds(), name)(2)
    assert (asyncio.run(result) if name == "coroutine" else result) == 2
    assert calls == ["seen"]


def test_callable_that_a_class_does_not_bind_can_be_patched(base: type[Base], patches: Patches) -> None:
    base.method = len  # type: ignore[method-assign, assignment]
    calls: Calls = []
    patches.wrap(base, "method", noting(calls))
    assert base().method("10") == 2  # type: ignore[arg-type, comparison-overlap]
    assert calls == ["seen"]


def test_call_without_an_instance_raises_what_the_function_raises(base: type[Base], patches: Patches) -> None:
    with pytest.raises(TypeError) as plain:
        base.method()  # type: ignore[call-arg]
    patches.wrap(base, "method", noting([]))
    with pytest.raises(TypeError) as patched:
        base.method()  # type: ignore[call-arg]
    assert str(patched.value) == str(plain.value)
    assert base.method(None) == (None, 1)  # type: ignore[arg-type]


def function_in(found: Any) -> Any:
    return found.__func__ if type(found) is classmethod else found  # Sanic has one


def test_everything_that_is_patched_stays_a_function_of_its_kind(patches: Patches) -> None:
    """An application may keep any of it: ``self.send = adapter.send``."""
    originals: dict[tuple[Any, str], Any] = {}
    others = ("threading", "gevent", "eventlet", "pycurl")  # they patch more than ours, and pycurl is written in C
    for library, modules in MODULES.items():
        for module in () if library in others else modules:
            earlier = set(patches.targets())
            try:
                imported = importlib.import_module(module)
            except ModuleNotFoundError:  # not installed here, or of another Python
                continue
            importlib.import_module(f"obskit.integrations.{library}").install(imported, patches)
            for owner, name in set(patches.targets()) - earlier:
                originals[owner, name] = inspect.unwrap(function_in(vars(owner)[name]))
    assert len(originals) > 15
    for (owner, name), original in originals.items():
        found = function_in(vars(owner)[name])
        assert type(found) is type(original) is type(lambda: None)
        assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(original)
        assert copy.deepcopy(MethodType(found, [owner.__name__])).__self__ == [owner.__name__]
