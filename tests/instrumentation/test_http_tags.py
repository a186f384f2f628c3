"""What of a URL is recorded, and how one is put together."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanKind

from obskit.instrumentation import http_tags
from obskit.instrumentation.http_tags import full_url, path_tag, remote_of, safe_url, tag_url
from obskit.instrumentation.tracer import tracer
from obskit.tracing.span import Span


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://bob:hunter2@h:1/a?q=1#f", ("http://h:1/a", "h:1", "/a")),
        ("http://h", ("http://h/", "h", "/")),
        ("http:bob:hunter2@h/a", ("h/a", "", "h/a")),
        ("http:/bob:hunter2@h/", ("h/", "", "h/")),
        ("http:///bob:hunter2@h/", ("h/", "", "h/")),
        ("/bob:hunter2@h/", ("h/", "", "h/")),
        ("bob:hunter2@h", ("h", "", "h")),
        ("//bob:hunter2@h/", ("h/", "", "h/")),
        ("http://bob:hunter2@/a", ("/a", "", "/a")),
        ("http://h/mail@example.org", ("http://h/mail@example.org", "h", "/mail@example.org")),
        ("http://h/a;jsessionid=hunter2", ("http://h/a", "h", "/a")),
        ("http://h/a;v=1;JSESSIONID=hunter2;w=2/b", ("http://h/a;v=1;w=2/b", "h", "/a;v=1;w=2/b")),
        ("", ("/", "", "/")),
    ],
)
def test_what_may_be_secret_is_left_out(url, expected):
    assert safe_url(url) == expected


def test_a_long_path_is_cut_and_searched_in_no_time():
    assert len(path_tag("/;sessionid" * 100_000)) == 2048


@pytest.mark.parametrize(
    ("host", "expected"),
    [("h", "http://h:1/a"), ("::1", "http://[::1]:1/a"), ("[::1]", "http://[::1]:1/a"), ("u:p@h", "http://h:1/a")],
)
def test_a_url_is_put_together_from_what_a_connection_knows(host, expected):
    assert full_url("http", host, 1, "/a") == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://h/a",
        "http://h:80/a",
        "http://h:80",
        "http://h:808",
        "http://h:80?x=/b",
        "http://h:80/?x=/b",
        "https://h/a;sid=hunter2?q=hunter2#f",
        "https:///a",
        "ws://h/a/b",
        "HTTP://[::1]:1/" + "a" * 3000,
        "http://bob:hunter2@h:1/a",
        "http:bob:hunter2@h/a",
        "http://h#/a",
        "http://h\\@evil/a",
        "",
    ],
)
def test_a_url_is_told_alike_the_second_time(url, monkeypatch):
    monkeypatch.setattr(http_tags, "_origins", {})
    for _ in range(2):
        span = tracer.start("GET", SpanKind.CLIENT, None, {})
        assert type(span) is Span
        tag_url(span, url)
        whole, host, path = safe_url(url)
        assert span.tags == {"http.url": whole, "http.host": host, "http.path": path}
        assert span.remote_endpoint == remote_of(whole.partition(":")[0], host)
    assert not [origin for origin in http_tags._origins if "hunter2" in origin or "?" in origin]


def test_origins_that_are_remembered_stay_few(monkeypatch):
    monkeypatch.setattr(http_tags, "_origins", {})
    for number in range(3000):
        span = tracer.start("GET", SpanKind.CLIENT, None, {})
        assert type(span) is Span
        tag_url(span, f"http://h{number}/a")
    assert len(http_tags._origins) <= 1024


@pytest.mark.parametrize(
    ("scheme", "host", "port", "target"),
    [
        ("http", "h", None, "/a"),
        ("http", "h", 80, "/a?token=hunter2"),
        ("https", "h", 8443, "/a;jsessionid=hunter2"),
        ("http", "::1", 8080, "/a"),
        ("http", "bob:hunter2@h", 1, "/a"),
        ("http", "h", 3128, "http://bob:hunter2@other/a"),  # to a proxy
        ("http", "h", 3128, "/" + "a" * 3000),
        ("http", "h", None, "*"),
        ("http", "h", None, ""),
    ],
)
def test_parts_of_a_url_are_tagged_as_its_text(scheme: str, host: str, port: int | None, target: str) -> None:
    for path in ("/first", target, target, "/last"):  # what is known of the server changes nothing
        by_text, by_parts = (tracer.start("GET", SpanKind.CLIENT, None, {}) for _ in range(2))
        assert type(by_text) is type(by_parts) is Span
        tag_url(by_text, full_url(scheme, host, port, path))
        tag_url(by_parts, ((scheme, host, port), path))
        assert by_parts.tags == by_text.tags
        assert by_parts.remote_endpoint == by_text.remote_endpoint
        assert "hunter2" not in str(by_parts.tags)
