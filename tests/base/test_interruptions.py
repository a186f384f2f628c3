"""A signal handler's exception, such as that of a time limit, is the application's wherever it comes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import obskit
from obskit.testing import recording
from obskit.tracing import tracer


class TooLate(Exception):
    pass


class Limits:
    def method(self, _number: int, _frame: Any) -> None:
        raise TooLate

    def __call__(self, *_: Any) -> None:
        raise TooLate


def handle(_limit: str, _number: int, _frame: Any) -> None:
    raise TooLate


@pytest.fixture(params=[Limits().method, Limits(), partial(handle, "x"), lambda *_: Limits().method(*_)])
def handler(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR2, request.param)
    yield
    signal.signal(signal.SIGUSR2, before)


def interrupted(function: Callable[[], Any]) -> Any:
    signal.raise_signal(signal.SIGUSR2)
    return function()


@pytest.mark.usefixtures("handler")
def test_it_goes_through_where_it_comes_as_a_span_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "perf_counter_ns", partial(interrupted, tracer.perf_counter_ns))
    with recording(), pytest.raises(TooLate), obskit.span("a"):
        pass


@pytest.mark.usefixtures("handler")
def test_it_goes_through_where_it_comes_in_a_value_of_the_applications() -> None:
    class Slow:
        def __str__(self) -> str:
            return str(interrupted(str))

    with recording() as recorder:
        with obskit.span("a") as found, pytest.raises(TooLate):
            found.tag("slow", Slow())
        recorder.take()


def test_exceptions_that_no_handler_raised_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise TooLate

    monkeypatch.setattr(tracer, "perf_counter_ns", fail)
    with recording() as recorder:
        with obskit.span("a"):
            pass
        recorder.assert_empty()
