"""botocore and aiobotocore rest on urllib3 and aiohttp: each exchange with AWS is a span of those."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from obskit.instrumentation.tracer import tracer
from obskit.testing import Recorder, recording
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.contract import installed
from obskit.testing.servers import http_server

pytest.importorskip("aiobotocore")

import aiobotocore.session
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

OPTIONS: dict[str, Any] = {
    "region_name": "eu-west-1",
    "aws_access_key_id": "key",
    "aws_secret_access_key": "secret",
    "config": Config(retries={"total_max_attempts": 3, "mode": "standard"}, s3={"addressing_style": "path"}),
}
MISSING = b"<Error><Code>NoSuchKey</Code><Message>none such</Message></Error>"


class Aws:
    """What was received, and how many requests are yet to be put off."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, dict[str, str]]] = []
        self.busy = 0
        self.bodies: list[bytes] = []


@contextmanager
def serving(aws: Aws) -> Iterator[str]:
    """Speak as much of S3 and SQS as these tests ask for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            aws.received.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            aws.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            if aws.busy:
                aws.busy -= 1
                self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
            elif "missing" in self.path:
                self.answer(404, MISSING)
            elif "x-amz-target" in self.headers:
                self.answer(200, b'{"QueueUrls": ["http://queue"]}', "application/x-amz-json-1.0")
            else:
                self.answer(200, b"" if self.command == "PUT" else b"hello")

        do_PUT = do_POST = do_GET

        def answer(self, status: int, body: bytes, kind: str = "application/xml") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as url:
        yield url


def call(service: str, operation: str, url: str, arguments: dict[str, Any]) -> Any:
    client = botocore.session.Session().create_client(service, endpoint_url=url, **OPTIONS)
    answer = getattr(client, operation)(**arguments)
    try:
        return answer["Body"].read() if "Body" in answer else answer
    finally:
        client.close()


def call_async(service: str, operation: str, url: str, arguments: dict[str, Any]) -> Any:
    async def run() -> Any:
        session = aiobotocore.session.AioSession()
        async with session.create_client(service, endpoint_url=url, **OPTIONS) as client:
            answer = await getattr(client, operation)(**arguments)
            return await answer["Body"].read() if "Body" in answer else answer

    return asyncio.run(run())


BOTOCORE = [(call, names) for names in (("urllib3",), ("http_client",), ("http_client", "urllib3", "requests"))]
EACH = [*BOTOCORE, (call_async, ("aiohttp_client",)), (call_async, ("aiohttp_client", "urllib3", "http_client"))]
PARAMETERS = pytest.mark.parametrize(("ask", "names"), EACH, ids=["-".join([f.__name__, *n]) for f, n in EACH])
OBJECT = {"Bucket": "shop", "Key": "apples"}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as found:
        yield found


@PARAMETERS
def test_each_operation_is_one_client_span_that_the_service_hears_of(ask: Any, names: Any, recorder: Recorder) -> None:
    """Its signature covers none of our headers: proxies may write others."""
    with serving(aws := Aws()) as url, installed(names), tracer.start_as_current_span("work") as work:
        ask("s3", "put_object", url, {**OBJECT, "Body": b"green"})
        assert ask("s3", "get_object", url, OBJECT) == b"hello"
        assert ask("sqs", "list_queues", url, {})["QueueUrls"] == ["http://queue"]
        spans = [recorder.take(CLIENT) for _ in range(3)]
    recorder.take()
    assert [span.parent_id for span in spans] == [work.span_id] * 3
    assert [headers["x-b3-spanid"] for *_, headers in aws.received] == [span.span_id for span in spans]
    assert not any("x-b3" in headers["authorization"] for *_, headers in aws.received)
    assert [(span.name, span.tags["http.path"]) for span in spans] == [
        ("PUT", "/shop/apples"), ("GET", "/shop/apples"), ("POST", "/")
    ]  # fmt: skip
    assert spans[0].remote_endpoint == ("127.0.0.1", int(url.rpartition(":")[2]))
    assert b"green" in aws.bodies[0]


@PARAMETERS
def test_each_try_is_a_span(ask: Any, names: Any, recorder: Recorder) -> None:
    with serving(aws := Aws()) as url, installed(names):
        aws.busy = 1
        assert ask("s3", "get_object", url, OBJECT) == b"hello"
        spans = [recorder.take(CLIENT, error="503"), recorder.take(CLIENT)]
    assert [headers["x-b3-spanid"] for *_, headers in aws.received] == [span.span_id for span in spans]
    assert [span.parent_id for span in spans] == [None, None]


@PARAMETERS
def test_errors_reach_the_caller_and_the_span(ask: Any, names: Any, recorder: Recorder) -> None:
    with serving(Aws()) as url, installed(names), pytest.raises(ClientError, match="none such"):
        ask("s3", "get_object", url, {**OBJECT, "Key": "missing"})
    recorder.take(CLIENT, error="404")


@PARAMETERS
def test_a_service_that_is_not_there_is_an_error_each_time(ask: Any, names: Any, recorder: Recorder) -> None:
    with installed(names), pytest.raises(EndpointConnectionError):
        ask("s3", "get_object", "http://127.0.0.1:1", OBJECT)
    for _ in range(3):
        recorder.take(CLIENT, error="")
