"""When a span ends whose response is no ``http.client.HTTPResponse``."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from obskit.instrumentation.body import finish_with_body
from obskit.instrumentation.client import begin
from obskit.testing import recording


class MakesOneEachTime:
    """As urllib3-future's, which cannot be installed beside urllib3: nobody closes what it makes."""

    length = 2

    @property
    def fp(self) -> io.BytesIO:
        return io.BytesIO(b"ok")


class Slotted:
    __slots__ = ("fp",)

    def __init__(self) -> None:
        self.fp = io.BytesIO(b"ok")


@pytest.mark.parametrize(
    "response",
    [
        MakesOneEachTime(),
        Slotted(),
        object(),
        None,
        SimpleNamespace(fp=None),
        SimpleNamespace(fp=b"takes no attribute"),
    ],
    ids=["property", "slots", "object", "none", "no-file", "fixed"],
)
def test_where_no_file_is_read_and_closed_the_span_ends_at_once(response: Any) -> None:
    with recording() as recorder:
        exchange = begin("GET", "http://nowhere/", None)
        assert exchange is not None
        finish_with_body(exchange, response)
        recorder.take()
