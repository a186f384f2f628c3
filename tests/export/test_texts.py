"""Texts of other types than ``str``, as ``http.HTTPMethod`` and Django's safe strings are, leave as plain ones."""

from __future__ import annotations

import pytest

import obskit
from obskit.instrumentation import client, server
from obskit.propagation.headers import LOWER
from tests.export.receiver import receiver


class Text(str):
    __slots__ = ()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("encoding", ["json", "proto3"])
def test_methods_routes_and_tags_leave_as_plain_text(encoding: str) -> None:
    with receiver() as zipkin:
        obskit.init(exporter=zipkin.url, integrations=[], zipkin_encoding=encoding)
        sent = client.begin(Text("GET"), Text("http://h/a"), {})
        served = server.begin({}, LOWER, Text("GET"), Text("/a"), None)
        assert sent is not None
        assert served is not None
        sent.finish()
        served.route = Text("/<name>")
        served.finish()
        with obskit.span(Text("own"), text=Text("b")):
            pass
        assert obskit.flush(10)
        [exporter] = obskit.stats()["exporters"]
        body = b"".join(zipkin.bodies)
    assert (exporter["delivered"], exporter["dropped"]) == (3, {})
    assert all(text in body for text in (b"GET", b"http://h/a", b"/<name>", b"own"))
