"""A destination that answers a span as if it were ill: what is given up, and what never is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from obskit.cli import forward_sending
from obskit.cli.forward_sending import Sending
from obskit.export.destinations import Making, parse
from obskit.zipkin.model import Span
from obskit.zipkin.proto3_decode import decode_list

grpc = pytest.importorskip("grpc", reason="needs the extra grpc")

from tests.export.grpc_receiver import grpc_receiver  # noqa: E402  (imports grpc)

COUNT = 30
NAMES = {f"n{number}" for number in range(COUNT)}
Judge = Callable[[int, set[str]], bool]
"""Tells by the number of the call and the names in it whether the server answers INTERNAL."""


def spans(first: int = 0) -> list[Span]:
    ids = range(first, first + COUNT)
    return [Span(trace_id="1" * 16, id=f"{number + 1:016x}", name=f"n{number}") for number in ids]


class Server:
    """Answers INTERNAL as told, and keeps the names of the others."""

    def __init__(self, is_bad: Judge) -> None:
        self.is_bad = is_bad
        self.calls = 0
        self.accepted: set[str] = set()

    def __bool__(self) -> bool:
        return True

    def pop(self, _place: int) -> Callable[..., None]:
        """Stands in for the list of answers that the receiver has."""
        return self.answer

    def answer(self, context: grpc.ServicerContext) -> None:
        self.calls += 1
        names = {span.name or "" for span in decode_list(self.receiver.messages[-1])}
        if self.is_bad(self.calls, names):
            context.abort(grpc.StatusCode.INTERNAL, "as told")
        self.accepted |= names


@contextmanager
def sending_to(server, monkeypatch):
    monkeypatch.setattr(forward_sending, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(forward_sending, "_FIRST_DOUBT", 0.001)
    monkeypatch.setattr(forward_sending, "_LONGEST_PAUSE", 0.002)
    with grpc_receiver() as receiver:
        server.receiver, receiver.answers = receiver, server
        plan = parse(f"grpc://{receiver.address}").plan
        destination, build = plan(Making(lambda: lambda span: span, None, ""))
        exporter = build()
        yield Sending(destination, threading.Event()), exporter
        exporter.close()


@pytest.mark.parametrize("bad", [{0}, {11}, {COUNT - 1}, {3, 4, 28}, set(range(COUNT - 1))], ids=str)
@pytest.mark.parametrize("before", [0, 1], ids=["first", "later"])
def test_a_span_that_fails_while_others_are_accepted_is_given_up_alone(bad, before, monkeypatch, capsys):
    names = {f"n{number + before * COUNT}" for number in bad}
    server = Server(lambda _, sent: bool(sent & names))
    with sending_to(server, monkeypatch) as (sending, exporter):
        for block in range(before + 1):
            assert sending.send_all(exporter, spans(block * COUNT))
    everything = {f"n{number}" for number in range((before + 1) * COUNT)}
    assert server.accepted == everything - names
    assert (sending.sent, dict(sending.dropped)["grpc_internal"]) == (len(everything - names), len(names))
    assert f"given up: {len(names)} spans, while others are accepted" in capsys.readouterr().err


@pytest.mark.parametrize("begins", [0, 1, 4])
@pytest.mark.parametrize("lasts", [1, 3, 9, 150])
def test_a_server_that_is_ill_costs_no_span(begins, lasts, monkeypatch):
    """Whether it was well before or not."""
    server = Server(lambda call, _: begins < call <= begins + lasts)
    with sending_to(server, monkeypatch) as (sending, exporter):
        for block in range(6):
            assert sending.send_all(exporter, spans(block * COUNT))
    assert len(server.accepted) == sending.sent == 6 * COUNT
    assert not sending.dropped.total()
    sizes = {len(decode_list(message)) for message in server.receiver.messages}
    assert not begins or sizes <= {1, COUNT}  # one is enough to see whether a server is well that was so before


def test_a_server_that_falls_ill_while_a_span_is_judged_costs_no_other(monkeypatch):
    server = Server(lambda call, sent: "n11" in sent or call in range(20, 200))
    with sending_to(server, monkeypatch) as (sending, exporter):
        assert sending.send_all(exporter, spans())
    assert server.accepted == NAMES - {"n11"}
    assert (sending.sent, sending.dropped["grpc_internal"]) == (COUNT - 1, 1)


def test_a_span_is_not_given_up_where_no_other_tells_whether_the_server_is_ill(monkeypatch):
    server = Server(lambda *_: True)
    with sending_to(server, monkeypatch) as (sending, exporter):
        sending.ends = time.monotonic() + 1.0
        assert not sending.send_all(exporter, spans()[:1])
    assert server.calls > 2 * forward_sending._SURE
    assert not sending.dropped.total()
