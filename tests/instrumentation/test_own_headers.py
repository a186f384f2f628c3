"""Headers that a client made for one hop, as a dict or as its own mapping."""

from __future__ import annotations

from collections.abc import MutableMapping

import pytest
from multidict import CIMultiDict
from urllib3 import HTTPHeaderDict

from obskit.instrumentation.client import begin
from obskit.instrumentation.own_headers import OwnHeaders

OLDER = {"x-b3-traceid": "1" * 32, "X-B3-ParentSpanId": "2" * 16, "B3": "0", "X-Mine": "1"}


@pytest.mark.parametrize("kind", [dict, CIMultiDict, HTTPHeaderDict])
@pytest.mark.parametrize("given", [{}, {"X-Mine": "1"}, OLDER])
def test_the_trace_replaces_an_older_one(kind: type[MutableMapping[str, str]], given: dict[str, str]) -> None:
    headers = kind(given)
    exchange = begin("GET", "http://h/a", OwnHeaders(headers))
    assert exchange is not None
    exchange.finish()
    found = {name.lower(): value for name, value in headers.items()}
    assert found.pop("x-mine", None) == given.get("X-Mine")
    assert found == {
        "x-b3-traceid": exchange.span.trace_id,
        "x-b3-spanid": exchange.span.span_id,
        "x-b3-sampled": str(int(bool(exchange.span.sampled))),
    }


def test_names_may_be_bytes() -> None:
    headers = {b"b3": b"0", b"X-Mine": b"1"}
    exchange = begin("GET", "http://h/a", OwnHeaders(headers))
    assert exchange is not None
    exchange.finish()
    assert b"b3" not in headers
    assert headers[b"X-Mine"] == b"1"
    assert headers["X-B3-SpanId"] == exchange.span.span_id  # type: ignore[index]
