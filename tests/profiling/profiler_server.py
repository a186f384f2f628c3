"""Cloud Profiler's REST API on a local port: creations that hang, uploads, tokens, and every fault on order.

Requests are judged by the discovery document that google-api-python-client carries, where that is installed.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import select
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SERVICE_NAME = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,253}[a-z0-9])?")
LABEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
CREATE = re.compile(r"/v2/projects/([^/]+)/profiles")
PATCH = re.compile(r"/v2/(projects/[^/]+/profiles/[^/]+)")


class Request(NamedTuple):
    """What one request said; ``at`` is a reading of ``time.monotonic``."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float


Respond = Callable[["Handler"], None]


def answer(status: int, body: Any = None, **headers: str) -> Respond:
    """Answer at once; underscores in the names of headers stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()

    def respond(handler: Handler) -> None:
        handler.reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    return respond


def error(status: int, name: str, delay: str | None = None, message: str = "as told", **headers: str) -> Respond:
    """Refuse as Google's APIs do, with a RetryInfo where a ``delay`` such as ``1.5s`` is asked for."""
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    details = [{"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": "x"}, *([retry] if delay else [])]
    body = {"code": status, "message": message, "status": name, "details": details}
    return answer(status, {"error": body}, **headers)


def turn(kind: str = "CPU", duration: str = "10s", name: str = "") -> Respond:
    """Let the instance have its turn."""

    def respond(handler: Handler) -> None:
        created = handler.body
        own = name or f"projects/{created['deployment']['projectId']}/profiles/profile-{len(handler.cloud.creates)}"
        profile = {"name": own, "profileType": kind, "deployment": created["deployment"], "duration": duration}
        handler.reply(200, json.dumps(profile).encode(), {})

    return respond


def hang(handler: Handler) -> None:
    """Answer nothing until the client leaves or the test ends; ``left`` counts the clients that did leave."""
    while not handler.cloud.closing.is_set():
        if select.select([handler.connection], [], [], 0.01)[0]:
            handler.cloud.left += 1
            break
    handler.close_connection = True


def later(respond: Respond) -> Respond:
    """Respond when the server is ``released``."""

    def wait(handler: Handler) -> None:
        handler.cloud.released.wait()
        respond(handler)

    return wait


def close(handler: Handler) -> None:
    """Close the connection instead of answering."""
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Send the header one byte at a time, for ever."""
    handler.close_connection = True
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000:
        if handler.cloud.closing.wait(0.01):
            return
        handler.wfile.write(bytes([byte]))


class CloudProfiler:
    """What arrived, and what is answered: by ``turns`` to creations, by ``uploads`` to patches, first to first.

    Without further turns creations hang; without further uploads each is taken. ``problems`` holds what the API's
    description would not allow.
    """

    def __init__(self, *turns: Respond) -> None:
        self.turns = list(turns)
        self.uploads: list[Respond] = []
        self.creates: list[Request] = []
        self.patches: list[Request] = []
        self.problems: list[str] = []
        self.tokens = 0
        self.left = 0
        self.closing = threading.Event()
        self.released = threading.Event()
        self.address = ""

    def pprof(self, index: int = -1) -> bytes:
        """Return an uploaded profile, unpacked."""
        return gzip.decompress(base64.b64decode(self.patches[index].body["profileBytes"], validate=True))

    def respond_to(self, request: Request) -> Respond:
        if request.path == "/token":
            self.tokens += 1
            return answer(200, {"access_token": f"token-{self.tokens}", "expires_in": 3600, "token_type": "Bearer"})
        if request.path.startswith("/$discovery/"):
            return answer(200, {**(discovery() or {}), "rootUrl": f"{self.address}/", "baseUrl": f"{self.address}/"})
        path = urlsplit(request.path).path  # a proxy may pass on the whole URL
        if request.method == "POST" and CREATE.fullmatch(path):
            self.problems += problems("CreateProfileRequest", request.body)
            self.creates.append(request)
            return self.turns.pop(0) if self.turns else hang
        if request.method == "PATCH" and (found := PATCH.fullmatch(path)):
            self.problems += problems("Profile", request.body)
            if request.body.get("name") not in (None, found[1]):
                self.problems.append(f"{request.body['name']} was sent to {path}")
            self.patches.append(request)
            return self.uploads.pop(0) if self.uploads else answer(200, {"name": found[1]})
        self.problems.append(f"no such method: {request.method} {request.path}")
        return error(404, "NOT_FOUND")


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's CloudProfiler."""

    protocol_version = "HTTP/1.1"
    cloud: CloudProfiler
    body: Any

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = (self.headers.get("Content-Type") or "").partition(";")[0]
        self.body = json.loads(content) if kind == "application/json" else content
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.cloud.respond_to(Request(self.command, self.path, headers, self.body, time.monotonic()))(self)

    do_POST = do_PATCH = do_GET

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that leave; other errors fail the test that looks at ``problems``."""


@contextmanager
def serve(*turns: Respond, tls: tuple[Any, Any] | None = None) -> Iterator[CloudProfiler]:
    """Serve on a free port; ``tls`` are PEM files, of a certificate for ``localhost`` and of its key."""
    cloud = CloudProfiler(*turns)
    server = _Server(("127.0.0.1", 0), type("_Handler", (Handler,), {"cloud": cloud}))
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    cloud.address = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield cloud
    finally:
        cloud.closing.set()
        cloud.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def discovery() -> dict[str, Any] | None:
    """Return Google's own description of the API; None where no library here carries it."""
    try:
        from googleapiclient.discovery_cache import get_static_doc
    except ImportError:
        return None
    found: dict[str, Any] = json.loads(get_static_doc("cloudprofiler", "v2"))
    return found


def problems(schema: str, value: Any) -> list[str]:
    """Return what the API's description does not allow in a body; nothing where there is no description."""
    document = discovery()
    if document is None:
        return []
    found = list(_judge(document["schemas"], {"$ref": schema}, value, schema))
    if schema == "CreateProfileRequest":
        found += _judge_deployment(value.get("deployment", {}))
    return found


def _judge(schemas: dict[str, Any], schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    if not isinstance(value, kinds[schema["type"]]):
        yield f"{where} is {value!r}, not of type {schema['type']}"
    elif schema["type"] == "array":
        for item in value:
            yield from _judge(schemas, schema["items"], item, where)
    elif schema["type"] == "object":
        for name, item in value.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if known is None:
                yield f"{where} has no field {name}"
            else:
                yield from _judge(schemas, known, item, f"{where}.{name}")
    else:
        yield from _judge_text(schema, value, where)


def _judge_text(schema: dict[str, Any], value: str, where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, not one of {schema['enum']}"
    if schema.get("format") == "google-duration" and not DURATION.fullmatch(value):
        yield f"{where} is {value!r}, which is no duration"
    if schema.get("format") == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as cause:
            yield f"{where} is not in base64: {cause}"


def _judge_deployment(deployment: dict[str, Any]) -> Iterator[str]:
    """Hold a deployment against the rules that the description gives in words."""
    labels = deployment.get("labels", {})
    if not SERVICE_NAME.fullmatch(deployment.get("target", "")):
        yield f"target is {deployment.get('target')!r}"
    if not all(LABEL_NAME.fullmatch(name) for name in labels):
        yield f"labels are {labels}"
    if sum(len(text.encode()) for pair in labels.items() for text in pair) > 1024:
        yield "labels hold more than 1024 bytes"
    if any(len(value.encode()) > 512 for value in labels.values()):
        yield "a label's value holds more than 512 bytes"


class Pprof(NamedTuple):
    """What of a profile.proto tests look at: sample types and units, functions' names, and period in nanoseconds."""

    sample_types: list[tuple[str, str]]
    functions: set[str]
    period: int


def decode(profile: bytes) -> Pprof:
    """Decode an unpacked profile (github.com/google/pprof, proto/profile.proto)."""
    fields = list(_fields(profile))
    strings = [value.decode() for number, value in fields if number == 6]
    types = [dict(_fields(value)) for number, value in fields if number == 1]
    functions = [dict(_fields(value)) for number, value in fields if number == 5]
    return Pprof(
        [(strings[one.get(1, 0)], strings[one.get(2, 0)]) for one in types],
        {strings[one.get(2, 0)] for one in functions},
        next((value for number, value in fields if number == 12), 0),
    )


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the numbers and values (int or bytes) of a protobuf message's fields."""
    rest = memoryview(message)
    while rest:
        key, rest = _varint(rest)
        value, rest = _varint(rest)
        if key & 7 == 2:
            length = value
            value, rest = bytes(rest[:length]), rest[length:]
        yield key >> 3, value


def _varint(data: memoryview) -> tuple[int, memoryview]:
    value = shift = 0
    for place, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data[place + 1 :]
    raise ValueError("the message ends inside a number")
