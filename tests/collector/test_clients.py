"""Zipkin's own clients send here: npm's, Go's, Java's with Brave, py_zipkin, and OpenTelemetry's exporter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from obskit.collector.intake.grpc_service import GrpcIntake
from obskit.collector.server import CollectorServer
from tests.installed import need
from tests.java import CACHE, SMALL, jars
from tests.zipkin_server import Unavailable

from .conftest import client_of

HERE = Path(__file__).parent / "clients"
FETCH_TIMEOUT = 300  # seconds
PY_ZIPKIN = """
import sys
from urllib.request import Request, urlopen
from py_zipkin import Encoding, Kind
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.zipkin import zipkin_span
class Transport(BaseTransportHandler):
    def get_max_payload_bytes(self):
        return None
    def send(self, payload):
        body = payload if isinstance(payload, bytes) else payload.encode()
        kind = "application/x-protobuf" if "PROTO" in sys.argv[2] else "application/json"
        urlopen(Request(sys.argv[1], body, {"Content-Type": kind}), timeout=20).close()
with zipkin_span("shop", "get /item", transport_handler=Transport(), sample_rate=100.0, kind=Kind.CLIENT,
                 encoding=getattr(Encoding, sys.argv[2]), binary_annotations={"http.path": "/item/\\u00fc"}) as span:
    span.add_sa_binary_annotation(8080, "cart", "10.0.0.7")
"""
OPENTELEMETRY = """
import sys
from opentelemetry import trace
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider(resource=Resource({"service.name": "shop"}))
provider.add_span_processor(SimpleSpanProcessor(ZipkinExporter(endpoint=sys.argv[1])))
with provider.get_tracer("t").start_as_current_span("get /item", kind=trace.SpanKind.CLIENT) as span:
    span.set_attribute("http.path", "/item/\\u00fc")
provider.shutdown()
"""


def run(*command, seconds=60, **options):
    """Run a client to its end."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def fetch(*command, **options):
    """Have a package manager download something; skip the test where it cannot."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT, **options)
    if done.returncode:
        pytest.skip(f"{' '.join(command[:3])} downloaded nothing: {done.stderr.strip()[-200:]}")


def check(client, service="shop", remote="cart"):
    """The span that every client sends is stored, whole."""
    ((span,),) = client.get(f"/api/v2/traces?serviceName={service}").json
    shown = (span["kind"], span["name"], span["localEndpoint"]["serviceName"], span["tags"]["http.path"])
    assert shown == ("CLIENT", "get /item", service, "/item/ü")
    assert span["timestamp"] > 0
    assert span["duration"] > 0
    if remote:
        there = span["remoteEndpoint"]
        assert (there["serviceName"], there["ipv4"], there["port"]) == (remote, "10.0.0.7", 8080)


@pytest.fixture(scope="module")
def node():
    """The folder with npm's packages."""
    folder = CACHE / "node-client"
    if not (folder / "node_modules" / "zipkin-transport-http").exists():
        folder.mkdir(parents=True, exist_ok=True)
        fetch("npm", "install", "--silent", "--no-audit", "--no-fund", "zipkin", "zipkin-transport-http", cwd=folder)
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    return folder


@pytest.fixture(scope="module")
def go():
    """The program built from ``main.go``; Go keeps what it built before."""
    folder = CACHE / "go-client"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("main.go", "go.mod"):
        shutil.copy(HERE / name, folder)
    fetch("go", "build", "-mod=mod", "-o", "client", ".", cwd=folder)
    return folder / "client"


@pytest.fixture(scope="module")
def java():
    """The folder with Brave and Zipkin's reporter."""
    try:
        return jars(
            "java-client",
            "io.zipkin.brave:brave:6.3.1",
            "io.zipkin.reporter2:zipkin-reporter-brave:3.5.3",
            "io.zipkin.reporter2:zipkin-sender-urlconnection:3.5.3",
            "io.zipkin.zipkin2:zipkin:3.5.1",
        )
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("encoding", "path"), [("JSON_V1", "/api/v1/spans"), ("JSON_V2", "/api/v2/spans")])
def test_npms_zipkin(client, node, encoding, path):
    url = "http://{}:{}".format(*client.address) + path
    run("node", HERE / "client.js", url, encoding, env={**os.environ, "NODE_PATH": str(node / "node_modules")})
    check(client)


@pytest.mark.parametrize("encoding", ["json", "proto3"])
def test_zipkin_go(client, go, encoding):
    run(go, "http://{}:{}/api/v2/spans".format(*client.address), encoding)
    check(client)


def test_brave_with_zipkins_reporter(client, java):
    encodings = ("JSON_V1", "JSON_V2", "PROTO3", "THRIFT")
    url = "http://{}:{}".format(*client.address)
    run("java", *SMALL, "-Dfile.encoding=UTF-8", "-cp", f"{java}/*", HERE / "Client.java", url, *encodings)
    for encoding in encodings:
        check(client, f"shop-{encoding.lower()}")


@pytest.mark.parametrize(
    ("encoding", "path"), [("V1_JSON", "/api/v1/spans"), ("V2_JSON", "/api/v2/spans"), ("V2_PROTO3", "/api/v2/spans")]
)
def test_py_zipkin(client, encoding, path):
    need("py_zipkin")
    run(sys.executable, "-c", PY_ZIPKIN, "http://{}:{}".format(*client.address) + path, encoding)
    check(client)


def test_opentelemetrys_exporter_to_zipkin(client):
    run(sys.executable, "-c", OPENTELEMETRY, "http://{}:{}/api/v2/spans".format(*client.address))
    check(client, remote="")


def test_zipkins_messages_over_grpc():
    """As protobuf's own code, made from ``zipkin.proto``, writes them."""
    need("py_zipkin")
    from py_zipkin.encoding.protobuf import zipkin_pb2

    remote = zipkin_pb2.Endpoint(service_name="cart", ipv4=bytes([10, 0, 0, 7]), port=8080)
    span = zipkin_pb2.Span(
        trace_id=b"\1" * 16,
        id=b"\2" * 8,
        kind=zipkin_pb2.Span.CLIENT,
        name="get /item",
        timestamp=1_700_000_000_000_000,
        duration=7,
        local_endpoint=zipkin_pb2.Endpoint(service_name="shop"),
        remote_endpoint=remote,
        tags={"http.path": "/item/ü"},
    )
    intake = GrpcIntake("127.0.0.1", 0)
    with CollectorServer(intakes=[intake]) as server, grpc.insecure_channel(f"127.0.0.1:{intake.port}") as channel:
        report = channel.unary_unary("/zipkin.proto3.SpanService/Report")
        assert report(zipkin_pb2.ListOfSpans(spans=[span]).SerializeToString(), timeout=20) == b""
        (stored,) = client_of(server).get("/api/v2/trace/" + "01" * 16).json
    assert (stored["remoteEndpoint"]["serviceName"], stored["tags"]) == ("cart", {"http.path": "/item/ü"})
