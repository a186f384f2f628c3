"""One connection, any method, the answer as it came, and no more of it than was asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from obskit.export.net.http_client import HttpClient, Unreachable
from tests.export.receiver import free_port, receiver, reply


@pytest.fixture
def there() -> Iterator[HttpClient]:
    with receiver() as server:
        client = HttpClient(server.url)
        client.server = server  # type: ignore[attr-defined]
        yield client
        client.close()


def soon() -> float:
    return time.monotonic() + 10


def test_an_exchange_has_a_method_a_path_headers_and_a_body_and_gives_status_headers_and_body(there):
    there.server.answers.append(reply(418, "X-Tea: green\r\n", b"short and stout"))
    answer = there.exchange("PATCH", "/v2/pot?x=1", b"{}", {"X-Cup": "1"}, soon())
    assert (answer.status, answer.headers["x-tea"], answer.body) == (418, "green", b"short and stout")
    assert there.server.bodies == [b"{}"]
    assert there.server.heads[0].startswith("PATCH /v2/pot?x=1 HTTP/1.1\r\n")
    assert "X-Cup: 1\r\n" in there.server.heads[0]


def test_exchanges_share_a_connection(there):
    for _ in range(3):
        there.exchange("POST", "/", b"x", {}, soon())
    assert there.server.connections == 1


def test_of_a_long_body_the_start_is_read_and_the_next_exchange_is_sound(there):
    there.server.answers += [reply(200, body=b"a" * 300_000), reply(200, body=b"next")]
    assert there.exchange("POST", "/", b"x", {}, soon(), most_read=1000).body == b"a" * 1000
    assert there.exchange("POST", "/", b"x", {}, soon()).body == b"next"
    assert there.server.connections == 2


def test_a_redirect_is_an_answer(there):
    there.server.answers.append(reply(302, f"Location: http://127.0.0.1:{free_port()}/\r\n"))
    assert there.exchange("POST", "/", b"x", {}, soon()).status == 302


def test_a_connection_that_was_refused_keeps_no_file_open():
    before = os.listdir("/proc/self/fd")
    errors = []
    for _ in range(3):
        with pytest.raises(Unreachable) as refused:
            HttpClient(f"http://127.0.0.1:{free_port()}").exchange("POST", "/", b"", {}, soon())
        errors.append(refused.value)
    assert os.listdir("/proc/self/fd") == before


def test_no_answer_is_unreachable_and_says_why():
    with pytest.raises(Unreachable, match="refused"):
        HttpClient(f"http://127.0.0.1:{free_port()}").exchange("POST", "/", b"", {}, soon())
