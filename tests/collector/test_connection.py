"""Connections of both kinds, with httptools and with h11, treat requests alike."""

import contextlib
import http.client
import json
import socket

import pytest

from obskit.collector import connection as connections
from obskit.collector.server import CollectorServer

from .conftest import client_of

KINDS = ["H11Connection", "HttpToolsConnection"]
PATIENCE = 20  # seconds
GET = b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    if not hasattr(connections, request.param):
        pytest.skip("needs httptools")
    return request.param


@pytest.fixture(scope="module")
def server(kind):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "Connection", getattr(connections, kind))
        with CollectorServer() as server:
            yield server


def post(number, ending="\r\n"):
    span = json.dumps([{"traceId": f"{number:x}", "id": "1"}]).encode()
    head = f"POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(span)}{ending}\r\n"
    return head.encode() + span


def answers(server, *pieces, number=None):
    """What is answered to pieces that are sent one by one, until so many answers are there or the connection ends."""
    with socket.create_connection((server.host, server.port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        said = bytearray()
        with contextlib.suppress(ConnectionError):
            while number is None or said.count(b"HTTP/1.1 ") < number:
                if not (piece := connection.recv(65536)):
                    break
                said += piece
    return [answer.split()[0].decode() for answer in said.split(b"HTTP/1.1 ")[1:]]


def test_requests_may_be_cut_anywhere(server):
    for place in range(1, len(post(1)) * 2):
        both = post(1) + post(2)
        assert answers(server, both[:place], both[place:], number=2) == ["202", "202"]
    assert client_of(server).get("/api/v2/trace/2").status == 200


def test_requests_that_come_together_are_answered_in_order(server):
    assert answers(server, GET + post(3) + GET.replace(b"/info", b"/nope") + GET, number=4) == [
        "200",
        "202",
        "404",
        "200",
    ]


def test_a_method_that_is_made_up_is_not_allowed_and_the_next_request_is_answered(server):
    made_up = GET.replace(b"GET", b"BREW")
    assert answers(server, made_up, GET, number=2) == ["405", "200"]
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        for method, status in (("GET", 200), ("BREW", 405), ("GET", 200)):
            connection.request(method, "/info")
            with connection.getresponse() as answer:
                assert answer.status == status
                answer.read()


@pytest.mark.parametrize("head", [b"X: " + b"x" * 300_000, b"X: x\r\n" * 60_000, b"X" * 300_000])
def test_headers_that_are_too_long_are_refused_though_they_come_at_once(server, head):
    assert answers(server, GET[:-2] + head + b"\r\n\r\n", number=1) in (["400"], [])


def test_an_address_that_is_too_long_is_refused(server):
    assert answers(server, b"GET /" + b"x" * 300_000, number=1) in (["400"], [])


CHUNKED = b"POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n"


@pytest.mark.parametrize("trailer", [b"X: x\r\n", b"X: " + b"x" * 1000])
def test_trailers_without_end_are_refused(server, trailer):
    assert answers(server, CHUNKED, *[trailer * 1000] * 1000, number=1) in (["400"], [])


def test_trailers_are_no_headers(server):
    trailers = b"Content-Encoding: gzip\r\nOrigin: http://other\r\n\r\n"
    assert answers(server, CHUNKED + trailers + GET, number=2) == ["202", "200"]


def test_an_offer_of_another_protocol_is_passed_over(server):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    assert answers(server, GET[:-2] + offer + b"\r\n", number=1) == ["200"]
    wanted = post(5, "\r\n" + offer.decode())
    assert answers(server, wanted, number=1) == ["202"]
