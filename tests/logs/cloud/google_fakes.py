"""Servers that speak what Google's do: Cloud Logging over REST and over gRPC with TLS, tokens, and metadata."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

PARTIAL_ERRORS = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"


class Answer(NamedTuple):
    """What a server says to a request: an HTTP status, its canonical name, and places of entries to blame."""

    status: int = 200
    name: str = ""
    places: tuple[int, ...] = ()


OK = Answer()


class CloudLogging:
    """What a fake received. ``judge`` sees each request (in JSON form) and answers it; refused entries are not kept."""

    address = ""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.entries: list[dict[str, Any]] = []
        self.answers: deque[Answer] = deque()
        self.judge: Callable[[dict[str, Any]], Answer] = lambda _: self.answers.popleft() if self.answers else OK
        self._lock = threading.Lock()

    def receive(self, request: dict[str, Any], headers: dict[str, str]) -> Answer:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            answer = self.judge(request)
            if answer.status == 200 or answer.places:
                shared = {key: request[key] for key in ("logName", "resource", "labels") if request.get(key)}
                taken = [entry for place, entry in enumerate(request["entries"]) if place not in answer.places]
                self.entries += [{**shared, **entry} for entry in taken]
            return answer

    @property
    def messages(self) -> list[str]:
        return [entry["jsonPayload"]["message"] for entry in self.entries]


@contextmanager
def serve_http(
    answer: Callable[[str, str, bytes, Any], tuple[int, dict[str, str], bytes]], certificate: Certificate | None = None
) -> Iterator[str]:
    """Serve ``answer(method, path, body, headers)``, behind ``certificate`` if given; yields ``host:port``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = answer(self.command, self.path, body, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = respond

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate.path, certificate.key)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def rest() -> Iterator[CloudLogging]:
    """Cloud Logging's REST API, strict about JSON, and the token endpoint ``/token``."""
    cloud = CloudLogging()

    def answer(_method: str, path: str, body: bytes, headers: Any) -> tuple[int, dict[str, str], bytes]:
        kind = {"Content-Type": "application/json"}
        if path == "/token":
            return 200, kind, json.dumps({"access_token": "a-token", "expires_in": 3600}).encode()
        if path.partition("?")[0] != "/v2/entries:write":
            return 404, kind, b"{}"
        given = cloud.receive(json.loads(body, parse_constant=_refuse), dict(headers))
        return given.status, kind, json.dumps(_error(given)).encode()

    with serve_http(answer) as address:
        cloud.address = f"http://{address}"
        yield cloud


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _error(answer: Answer) -> dict[str, Any]:
    if answer.status == 200:
        return {}
    blamed = {str(place): {"code": 3, "message": "bad"} for place in answer.places}
    details = [{"@type": PARTIAL_ERRORS, "logEntryErrors": blamed}] if blamed else []
    return {"error": {"code": answer.status, "status": answer.name, "message": "as told", "details": details}}


@contextmanager
def grpc_over_tls(certificate: Certificate) -> Iterator[CloudLogging]:
    """Cloud Logging's gRPC API behind ``localhost``'s own certificate."""
    import grpc
    from google.cloud.logging_v2.types import WriteLogEntriesRequest
    from google.protobuf.json_format import MessageToDict

    cloud = CloudLogging()

    def write(body: bytes, context: Any) -> bytes:
        request = WriteLogEntriesRequest.pb(WriteLogEntriesRequest.deserialize(body))
        answer = cloud.receive(MessageToDict(request), dict(context.invocation_metadata()))
        if answer.status != 200:
            context.set_trailing_metadata([("grpc-status-details-bin", _status(answer))])
            context.abort(getattr(grpc.StatusCode, answer.name), "as told")
        return b""

    handler = grpc.method_handlers_generic_handler(
        "google.logging.v2.LoggingServiceV2", {"WriteLogEntries": grpc.unary_unary_rpc_method_handler(write)}
    )
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    secret = grpc.ssl_server_credentials([(certificate.key.read_bytes(), certificate.path.read_bytes())])
    cloud.address = f"localhost:{server.add_secure_port('localhost:0', secret)}"
    server.start()
    try:
        yield cloud
    finally:
        server.stop(0).wait()


def _status(answer: Answer) -> bytes:
    import grpc
    from google.cloud.logging_v2.types import WriteLogEntriesPartialErrors
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.rpc.status_pb2 import Status

    code = getattr(grpc.StatusCode, answer.name).value[0]
    status = Status(code=code, message="as told")
    if answer.places:
        blamed = WriteLogEntriesPartialErrors(log_entry_errors={place: Status(code=3) for place in answer.places})
        value = WriteLogEntriesPartialErrors.serialize(blamed)
        status.details.append(AnyMessage(type_url=PARTIAL_ERRORS, value=value))
    return status.SerializeToString()


class Certificate(NamedTuple):
    """PEM files of a certificate that signed itself, and of its key."""

    path: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    key = _rsa_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    made.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(_pem(key))
    return made


def make_key_file(folder: Path, token_address: str) -> Path:
    """Write a service account's key file whose tokens come from ``token_address``."""
    file = folder / "account.json"
    account = {
        "type": "service_account",
        "project_id": "the-accounts-project",
        "private_key_id": "1",
        "private_key": _pem(_rsa_key()).decode(),
        "client_email": "writer@example.iam.gserviceaccount.com",
        "token_uri": f"{token_address}/token",
    }
    file.write_text(json.dumps(account))
    return file


def _rsa_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    plain = serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return pem


@contextmanager
def metadata(values: dict[str, str]) -> Iterator[str]:
    """Google's metadata server; yields what GCE_METADATA_HOST is to say."""

    def answer(_method: str, path: str, _body: bytes, headers: Any) -> tuple[int, dict[str, str], bytes]:
        assert headers["Metadata-Flavor"] == "Google"
        value = values.get(path.removeprefix("/computeMetadata/v1/"))
        return 404 if value is None else 200, {"Metadata-Flavor": "Google"}, (value or "not found").encode()

    with serve_http(answer) as address:
        yield address


@contextmanager
def silence() -> Iterator[str]:
    """A server that takes connections and never answers; yields ``host:port``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"
