"""Requests as they are written, and responses of every form (RFC 9112)."""

from __future__ import annotations

import io

import pytest

from obskit.export.net.http_message import NotHttp, read_body, read_head, send_request


class Written:
    """A wire that keeps what is sent."""

    def __init__(self):
        self.sent = []

    @property
    def data(self):
        return b"".join(self.sent)

    def sendall(self, data):
        self.sent.append(data)


def read(text, method="GET", most=100):
    reader = io.BufferedReader(io.BytesIO(text))
    head = read_head(reader)
    return head, *read_body(reader, method, head, most)


def test_a_request_is_written_at_once_in_form():
    wire = Written()
    send_request(wire, "POST", "/a?b", "h:1", b"xy", {"X-Mine": "1"})
    assert wire.sent == [b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nX-Mine: 1\r\nContent-Length: 2\r\n\r\nxy"]


def test_a_large_body_is_sent_without_a_copy_of_it():
    wire, body = Written(), b"x" * 100_000
    send_request(wire, "POST", "/", "h", body, {})
    assert wire.data == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + body
    assert wire.sent[-1] is body


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", None), ("POST", b"")])
def test_a_request_that_may_have_a_body_has_a_length(method, body):
    wire = Written()
    send_request(wire, method, "/", "h", body, {})
    assert (b"Content-Length: 0" in wire.data) == (method == "POST")


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: 1", "/\xe9", ""])
def test_a_target_that_would_break_the_request_is_refused(target):
    with pytest.raises(ValueError, match="percent-encode"):
        send_request(Written(), "GET", target, "h", None, {})


@pytest.mark.parametrize("value", ["a\r\nX: 1", "a\nb", "a\0"])
def test_so_is_a_header_and_its_value_is_not_told(value):
    with pytest.raises(ValueError, match=r"^the value of the header X-Token has a line break in it$"):
        send_request(Written(), "GET", "/", "h", None, {"X-Token": value})


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "body", "complete", "stays"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True, True),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", b"hi", True, True),
        (b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\nhi", b"hi", True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nhi", b"hi", True, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", b"hi", True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", b"hi", False, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200, b"x" * 100, False, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi", b"hi", False, True),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", b"hi", False, True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", b"", True, True),
        (b"HTTP/1.1 304 No\r\n\r\n", b"", True, True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n", b"", True, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", True, True),
        (
            CHUNKED + b"2;a=b\r\nhi\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n",
            b"hi!",
            True,
            True,
        ),
        (CHUNKED + b"2\r\nhi\r\n5\r\nth", b"hith", False, True),
        (CHUNKED + b"2\r\nhi\r\nzz\r\n", b"hi", False, True),
        (CHUNKED + b"-1\r\nhi", b"", False, True),
        (CHUNKED + b"c8\r\n" + b"x" * 200, b"x" * 100, False, True),
    ],
)
def test_a_response_is_read_as_far_as_it_goes(text, body, complete, stays):
    head, found, whole = read(text)
    assert (found, whole, head.stays) == (body, complete, stays)


def test_the_answer_to_head_has_no_body():
    assert read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD")[1:] == (b"", True)


def test_headers_are_named_in_any_case_and_the_first_counts():
    head, _, _ = read(b"HTTP/1.1 200 Fine by me\r\nRetry-After: 1\r\nretry-after: 2\r\nContent-Length: 0\r\n\r\n")
    assert (head.status, head.reason, head.headers["RETRY-AFTER"], "Retry-after" in head.headers) == (
        200,
        "Fine by me",
        "1",
        True,
    )
    assert head.headers.get("absent") is None


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2 OK\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 70000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 102,
        b"\r\n",
    ],
)
def test_what_is_no_http_says_so(text):
    with pytest.raises(NotHttp):
        read(text)


def test_a_connection_that_was_closed_is_told_apart():
    with pytest.raises(ConnectionResetError):
        read(b"")
