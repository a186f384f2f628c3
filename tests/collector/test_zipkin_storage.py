"""A Zipkin server as storage: the real one where it can be had, and a collector that stands in for it anywhere."""

import http.server
import threading
import time

import pytest

from obskit.collector.options import Options
from obskit.collector.server import CollectorServer
from tests import zipkin_server as reference
from tests.export.receiver import eventually, free_port

from .conftest import Client, client_of
from .test_cli import finish, start

NOW = int(time.time() * 1_000_000) - 60_000_000
SHOP, CART = ({"serviceName": name} for name in ("shop", "cart"))


def trace(number, **fields):
    """A request of two services that takes ``number`` milliseconds."""
    trace_id = f"{number:032x}"
    times = {"timestamp": NOW + number * 1000, "duration": number * 1000}
    return [
        {
            "traceId": trace_id,
            "id": "1" * 16,
            "kind": "SERVER",
            "name": "get /",
            **times,
            "localEndpoint": SHOP,
            **fields,
        },
        {
            "traceId": trace_id,
            "parentId": "1" * 16,
            "id": "2" * 16,
            "kind": "CLIENT",
            "name": "get /cart",
            **times,
            "localEndpoint": SHOP,
            "remoteEndpoint": CART,
            "tags": {"item": str(number)},
        },
    ]


@pytest.fixture(scope="module", params=["a collector", "Zipkin"])
def server(request):
    """A client of the server behind, with 30 traces of which every tenth failed."""
    if request.param == "Zipkin":
        try:
            with reference.running() as port:
                yield filled(Client("127.0.0.1", port))
        except reference.Unavailable as error:
            pytest.skip(f"no Zipkin server: {error}")
    else:
        with CollectorServer() as behind:
            yield filled(client_of(behind))


def filled(client):
    for number in range(1, 31):
        spans = trace(number, tags={"error": "late"} if not number % 10 else {})
        assert client.post(spans).status == 202
    while len(client.get("/api/v2/traces?limit=100").json) < 30:  # the real one answers before it stores
        time.sleep(0.05)
    return client


@pytest.fixture(scope="module")
def front(server):
    """A client of a collector over it."""
    with CollectorServer(storage="zipkin+http://{}:{}".format(*server.address)) as found:
        yield client_of(found)


@pytest.mark.parametrize(
    "path",
    [
        *("services", "spans?serviceName=shop", "remoteServices?serviceName=SHOP", "autocompleteValues?key=x"),
        *("traces?limit=5", "traces?serviceName=shop&annotationQuery=error", "traces?annotationQuery=item=7 and item"),
        *("traces?spanName=get /cart&remoteServiceName=cart&minDuration=20000&maxDuration=22000&limit=100",),
        *("traces?serviceName=nobody", f"trace/{7:032x}", f"trace/{99:032x}", f"traceMany?traceIds={1:032x},{2:032x}"),
        "dependencies?endTs={now}&lookback=600000",
        *("traces?limit=x", "trace/x"),
    ],
)
def test_the_api_answers_what_the_server_answers(server, front, path):
    path = "/api/v2/" + path.replace(" ", "%20").replace("{now}", str(int(time.time() * 1000)))
    ours, theirs = front.get(path), server.get(path)
    assert ours.status == theirs.status
    if theirs.status == 200:
        assert ours.json == theirs.json


def test_pages_show_its_traces(front):
    page = front.get("/traces")
    assert (page.status, all(f"/traces/{number:016x}" in page.text for number in (1, 15, 30))) == (200, True)
    assert "get /cart" in front.get(f"/traces/{3:032x}").text
    assert front.get(f"/find?q={4:032x}").status in {302, 303}


def test_health_is_that_of_the_server(front):
    assert front.get("/health").status == 200


def test_spans_sent_here_are_stored_there(server, front):
    assert front.post(trace(500)).status == 202
    deadline = time.monotonic() + 10
    while server.get(f"/api/v2/trace/{500:032x}").status == 404:
        assert time.monotonic() < deadline
    assert len(front.get(f"/api/v2/trace/{500:032x}").json) == 2


def test_a_span_whose_id_is_zero_is_stored_there(server, front):
    ids = {"traceId": "2" * 32, "timestamp": NOW}
    assert front.post([{**ids, "id": "0"}, {**ids, "id": "5"}]).status == 202
    eventually(lambda: len(server.get(f"/api/v2/trace/{'2' * 32}").json) == 2)


def test_a_server_that_is_away_is_named_and_comes_back():
    port = free_port()
    with CollectorServer(storage=f"zipkin+http://127.0.0.1:{port}") as found:
        client = client_of(found)
        for path in ("/health", "/api/v2/services", "/api/v2/traces", "/traces", "/api/v2/trace/1"):
            answer = client.get(path)
            assert (answer.status, f"127.0.0.1:{port} did not answer" in answer.text) == (503, True)
        assert client.post(trace(1)).status == 503
        with CollectorServer(port=port):
            assert client.post(trace(1)).status == 202
            assert client.get("/api/v2/services").json == ["shop"]


def test_a_name_and_a_password_are_sent():
    with CollectorServer(options=Options(token="s3cret+/")) as behind:
        url = behind.url.removeprefix("http://")
        with CollectorServer(storage=f"zipkin+http://any:s3cret%2B%2F@{url}") as found:
            assert client_of(found).get("/api/v2/services").status == 200
        with CollectorServer(storage=f"zipkin+http://{url}") as found:
            answer = client_of(found).get("/api/v2/services")
            assert (answer.status, "answered 401" in answer.text) == (503, True)


class Other(http.server.BaseHTTPRequestHandler):
    """Something else that answers with 200."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *args):
        """Print nothing."""


def test_an_answer_that_is_not_zipkins_is_said():
    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        with CollectorServer(storage=f"zipkin+http://127.0.0.1:{other.server_port}") as found:
            for path in ("/api/v2/services", "/api/v2/traces", "/api/v2/trace/1"):
                answer = client_of(found).get(path)
                assert (answer.status, "the server's answer is not Zipkin's" in answer.text) == (503, True)
        other.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "flags",
    [
        ["--storage=zipkin+http://"],
        ["--storage=zipkin+http://b:x"],
        ["--storage=zipkin+http://b:1/path"],
        ["--storage=zipkin+http://b", "--forward=console"],
        ["--storage=zipkin+http://b", "--backup=x"],
    ],
)
def test_what_cannot_be_used_is_one_line(flags):
    status, out, err = finish("--port", "0", *flags)
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_the_command_says_where_spans_are_without_the_password():
    process = start("--port", "0", "--storage", "zipkin+http://user:s3cret@127.0.0.1:1")
    try:
        assert process.stdout.readline().startswith("obskit collector keeps spans in http://127.0.0.1:1 and listens on")
    finally:
        process.kill()
        process.communicate()
