"""A server that speaks Cloud Trace's API v2 as Google documents it, reading requests with Google's own types."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.cloud.trace_v2.types import BatchWriteSpansRequest
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from tests.logs.cloud.google_fakes import Certificate, serve_http

Reply = tuple[int, dict[str, str], str]
"""A status, headers, and the message of an error."""
OK: Reply = (200, {}, "")
_PATH = re.compile(r"/v2/projects/([^/]+)/traces:batchWrite").fullmatch
_NAME = re.compile(r"projects/([^/]+)/traces/([0-9a-f]{32})/spans/([0-9a-f]{16})").fullmatch


class CloudTrace:
    """What was received. ``judge`` sees each request's spans and answers it; those of a refused one are not kept."""

    address = ""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.projects: list[str] = []
        self.tokens = 0
        self.token_answer = 200
        self.answers: deque[Reply] = deque()
        self.judge: Callable[[list[dict[str, Any]]], Reply] = lambda _: self.answers.popleft() if self.answers else OK
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return [span["displayName"]["value"] for span in self.spans]

    def answer(self, _method: str, path: str, body: bytes, headers: Any) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            if path == "/token":
                return self._token()
            status, more, message = self._write(path, body, dict(headers))
        content = {"error": {"code": status, "message": message}} if status != 200 else {}
        return status, {"Content-Type": "application/json", **more}, json.dumps(content).encode()

    def _token(self) -> tuple[int, dict[str, str], bytes]:
        self.tokens += 1
        token = {"access_token": f"token-{self.tokens}", "expires_in": 3600}
        return self.token_answer, {"Content-Type": "application/json"}, json.dumps(token).encode()

    def _write(self, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        found = _PATH(path)
        if found is None:
            return 404, {}, "no such method"
        try:
            request = BatchWriteSpansRequest.pb(BatchWriteSpansRequest())
            ParseDict(json.loads(body), request)
        except ParseError as error:
            return 400, {}, str(error)
        spans = [check(span, found[1]) for span in request.spans]
        self.sizes.append(len(spans))
        self.headers.append(headers)
        self.projects.append(found[1])
        reply = self.judge(spans)
        if reply[0] == 200:
            self.spans += spans
        return reply


def check(message: Any, project: str) -> dict[str, Any]:
    """Return a span as JSON; fail the test where the API would refuse it."""
    assert message.start_time.ToNanoseconds() <= message.end_time.ToNanoseconds()
    span: dict[str, Any] = MessageToDict(message)
    name = _NAME(span["name"])
    assert name, span["name"]
    assert (name[1], name[3]) == (project, span["spanId"])
    assert len(span["displayName"]["value"].encode()) <= 128
    attributes = span.get("attributes", {}).get("attributeMap", {})
    assert len(attributes) <= 32
    for key, value in attributes.items():
        assert 0 < len(key.encode()) <= 128
        assert len(value["stringValue"].get("value", "").encode()) <= 256
    assert len(span.get("timeEvents", {}).get("timeEvent", [])) <= 32
    return span


@contextmanager
def serve(certificate: Certificate | None = None) -> Iterator[CloudTrace]:
    """Serve the API, and tokens at ``/token``."""
    cloud = CloudTrace()
    with serve_http(cloud.answer, certificate) as address:
        port = address.rpartition(":")[2]
        cloud.address = f"https://localhost:{port}" if certificate else f"http://{address}"
        yield cloud
