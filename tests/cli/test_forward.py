"""``obskit collector --forward`` as a process of its own: what it receives, others receive too."""

from __future__ import annotations

import http.server
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from obskit.cli.forward import Forwarder, forward_urls
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.model import Span
from tests import zipkin_server
from tests.export.receiver import clean_environ, eventually, free_port, raw, receiver, reply
from tests.logs.cloud import google_fakes

CLOUD = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "PROJECT_ID")


def span(name: str, **fields: Any) -> dict[str, Any]:
    now = time.time_ns() // 1000
    return {"traceId": "1" * 32, "id": "2" * 16, "name": name, "timestamp": now, "duration": 5, **fields}


class Collector:
    """A running ``obskit collector``."""

    def __init__(self, process: subprocess.Popen[str], forwards: int) -> None:
        self.process = process
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[-1]
        self.forwards = [process.stdout.readline().split()[-1] for _ in range(forwards)]

    def post(self, *spans: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/spans", json.dumps(spans).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 202

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def stored(self) -> list[str]:
        return [one["name"] for one in self.get(f"/api/v2/trace/{'1' * 32}")]

    def finish(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def collector(*urls: str, forwards: int | None = None, **environ: str) -> Iterator[Collector]:
    flags = [flag for url in urls for flag in ("--forward", url)]
    with run("--port", "0", *flags, **environ) as process:
        try:
            yield Collector(process, len(urls) if forwards is None else forwards)
        finally:
            process.kill()


def run(*flags: str, **environ: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in clean_environ().items() if name not in CLOUD}
    storage = () if "--storage" in flags else ("--storage", "memory")
    command = [sys.executable, "-m", "obskit", "collector", *storage, *flags]
    return subprocess.Popen(command, env={**kept, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_spans_are_stored_and_passed_on_to_every_destination():
    with receiver() as first, receiver() as second, collector(first.url, second.url) as running:
        assert running.forwards == [first.url, second.url]
        running.post(span("a", shared=True, kind="SERVER"), span("b", id="3" * 16))
        eventually(lambda: first.spans and second.spans)
        assert first.names == second.names == running.stored() == ["a", "b"]
        assert first.spans[0]["shared"] is True
        assert running.finish() == (0, "", "")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_span_whose_id_is_zero_takes_no_other_with_it(kind):
    """Zipkin reads ``"0"`` as an id and shows it as sixteen zeros, for which it refuses the whole message."""
    try:
        with zipkin_server.running() as port, collector(f"{kind}://127.0.0.1:{port}") as running:
            running.post(span("a"), span("b", id="0"))
            eventually(lambda: zipkin_names(port) == ["a", "b"])
            assert running.finish() == (0, "", "")
    except zipkin_server.Unavailable as error:
        pytest.skip(f"no Zipkin server: {error}")


def zipkin_names(port: int) -> list[str]:
    url = f"http://127.0.0.1:{port}/api/v2/traceMany?traceIds={'1' * 32},2"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return sorted(one["name"] for trace in json.load(answer) for one in trace)


def test_cloud_trace_is_not_sent_a_span_whose_id_is_zero(cloud):
    with collector("cloudtrace://the-project", OBSKIT_CLOUDTRACE_ENDPOINT=cloud.address) as running:
        running.post(span("a"), span("b", id="0"))
        assert "1 " in running.finish()[2]
    assert cloud.names == ["a"]


def test_what_was_sent_and_what_waits_is_shown():
    with receiver() as good, collector(good.url, away := f"http://127.0.0.1:{free_port()}/api/v2/spans") as running:
        running.post(span("a"), span("b", id="3" * 16))

        def shown(destination: str) -> list[float]:
            metrics = running.get("/metrics")
            names = ("counter.obskit_forward.spans", "counter.obskit_forward.spans_dropped")
            return [metrics[f"{name}.{destination}"] for name in (*names, "gauge.obskit_forward.spans_waiting")]

        eventually(lambda: shown(good.url) == [2, 0, 0])
        assert shown(away) == [0, 0, 2]


def test_what_waits_at_the_end_is_still_sent():
    with receiver() as there, collector(there.url) as running:
        running.post(*(span(str(number), id=f"{number:016x}") for number in range(1, 501)))
        assert running.finish() == (0, "", "")
        assert len(there.names) == 500


def test_what_cannot_be_sent_in_the_end_is_said():
    with collector(f"http://user:secret@127.0.0.1:{free_port()}") as running:
        running.post(span("a"), span("b", id="3" * 16))
        status, _, err = running.finish()
    assert status == 0
    assert "obskit collector: spans not forwarded to http://127.0.0.1:" in err
    assert err.rstrip().endswith(": 2 unreachable")
    assert "secret" not in err


def test_a_destination_in_trouble_holds_up_neither_the_collector_nor_another():
    with receiver() as good, receiver() as bad:
        bad.answers.append(bad.hang)
        with collector(bad.url, good.url) as running:
            running.post(span("a"))
            eventually(lambda: bad.bodies and good.bodies)
            running.post(span("b", id="3" * 16))
            eventually(lambda: "b" in good.names)


def test_a_destination_that_recovers_gets_what_it_missed():
    with receiver(reply(503), raw(b"rubbish\r\n\r\n")) as there, collector(there.url) as running:
        running.post(span("a"))
        eventually(lambda: len(there.bodies) >= 3)
        assert running.finish()[0] == 0
        assert there.bodies[0] == there.bodies[2]


def test_spans_on_standard_output():
    with collector("console") as running:
        running.post(span("a"))
        status, out, _ = running.finish()
    assert status == 0
    assert json.loads(out)["name"] == "a"


@pytest.fixture
def cloud() -> Iterator[Any]:
    pytest.importorskip("google.cloud.trace_v2", reason="needs the extra gcp")
    from tests.export.cloud_trace import fake

    with fake.serve() as server:
        yield server


def test_cloud_trace_gets_spans_whose_ids_do_not_collide(cloud):
    with collector("cloudtrace://the-project", OBSKIT_CLOUDTRACE_ENDPOINT=cloud.address) as running:
        running.post(span("call", kind="CLIENT"), span("serve", kind="SERVER", shared=True))
        assert running.finish() == (0, "", "")
    assert cloud.projects == ["the-project"]
    first, second = cloud.spans
    assert (first["spanId"], second["parentSpanId"]) == ("2" * 16, "2" * 16)
    assert second["spanId"] != first["spanId"]


def test_the_variables_of_googles_own_collector_are_enough(cloud, tmp_path):
    """With a service account's key file and TLS: the token is asked for, and goes with the spans."""
    from tests.export.cloud_trace import fake

    certificate = google_fakes.make_certificate(tmp_path)
    with fake.serve(certificate) as guarded:
        environ = {
            "PROJECT_ID": "old-project",
            "GOOGLE_APPLICATION_CREDENTIALS": str(google_fakes.make_key_file(tmp_path, cloud.address)),
            "OBSKIT_CLOUDTRACE_ENDPOINT": guarded.address,
            "SSL_CERT_FILE": str(certificate.path),
        }
        with collector(forwards=1, **environ) as running:
            assert running.forwards == ["cloudtrace://old-project"]
            running.post(span("a"))
            eventually(lambda: guarded.names, 40)  # importing google-auth takes its time
            running.post(span("b", id="3" * 16))
            assert running.finish() == (0, "", "")
    assert guarded.names == ["a", "b"]
    assert guarded.headers[0]["authorization"] == "Bearer token-2"  # the first was asked for at the start


def test_those_variables_ask_for_nothing_by_halves_and_a_flag_wins():
    both = {"PROJECT_ID": "p", "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
    assert forward_urls([], both) == ["cloudtrace://p"]
    assert forward_urls(["none"], both) == ["none"]
    assert forward_urls([], {"PROJECT_ID": "p"}) == []
    assert forward_urls([], {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}) == []
    assert Forwarder(["none"]).destinations == []


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        (["--forward", "foo"], "got 'foo'; give an http(s):// or grpc(s):// URL of a Zipkin server, "),
        (["--forward", "ftp://x"], "its scheme 'ftp' is unknown"),
        (["--forward", "htp://user:secret@h/x?key=hidden"], "got 'htp://***@h/x?***'; give "),
        (["--forward", "otel:otlp"], "name a server that accepts Zipkin's"),
        (["--forward", "cloudtrace://A_B"], "write cloudtrace://PROJECT"),
        (["--forward", "http://user:se/cret@h"], "got 'http://***@h'; give "),
        (["--forward", "user:secret@h:9411"], "got '***@h:9411'; give "),
        (["--forward", "otel:secret"], "accepts OpenTelemetry spans only"),
        (["--forward", "http://localhost:9411"], "http://localhost:9411 is this collector itself"),
        (
            ["--forward", "http://user:secret@localhost:9411/?key=hidden"],
            "--forward: http://***@localhost:9411/?*** is this collector itself",
        ),
        (["--forward", "http://127.0.0.1:9999/api/v2/spans", "--port", "9999"], "is this collector itself"),
    ],
)
def test_bad_usage_is_status_2_and_one_line_which_names_the_flag(flags, remedy):
    with run(*flags) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("obskit collector: --forward: ")
    assert remedy in err


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("{", "it is not JSON"), ("", "it is not JSON")]
)
def test_credentials_that_cannot_be_read_are_said_at_the_start(tmp_path, content, reason):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with run("--port", "0", PROJECT_ID="p", GOOGLE_APPLICATION_CREDENTIALS=str(path)) as process:
        _, err = process.communicate(timeout=30)
    assert (process.returncode, len(err.splitlines())) == (2, 1)
    assert f"GOOGLE_APPLICATION_CREDENTIALS: {path}: {reason}" in err


@pytest.mark.parametrize("content", ["{}", '{"type": "service_account", "client_email": "a@b", "private_key": "x"}'])
def test_a_file_that_is_no_key_is_said_at_the_start(tmp_path, content):
    pytest.importorskip("google.auth", reason="needs the extra gcp")
    path = tmp_path / "key.json"
    path.write_text(content)
    with run("--port", "0", PROJECT_ID="p", GOOGLE_APPLICATION_CREDENTIALS=str(path)) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (2, 1)
    assert str(path) in err
    assert "GOOGLE_APPLICATION_CREDENTIALS" in err


@contextmanager
def token_server(status: int, answer: dict[str, str]) -> Iterator[str]:
    """The address of a server that answers every request for a token so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_key_that_google_refuses_is_said_at_the_start(tmp_path):
    pytest.importorskip("google.auth", reason="needs the extra gcp")
    with token_server(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}) as address:
        key = str(google_fakes.make_key_file(tmp_path, address))
        with run("--port", "0", PROJECT_ID="p", GOOGLE_APPLICATION_CREDENTIALS=key) as process:
            _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (2, 1)
    assert "obskit collector: cloudtrace://p: ('invalid_grant: Invalid JWT Signature.'" in err


def test_google_being_away_is_said_at_the_start_and_keeps_nothing_from_starting(tmp_path):
    pytest.importorskip("google.auth", reason="needs the extra gcp")
    key = str(google_fakes.make_key_file(tmp_path, f"http://127.0.0.1:{free_port()}"))
    with collector(forwards=1, PROJECT_ID="p", GOOGLE_APPLICATION_CREDENTIALS=key) as running:
        running.post(span("a"))
        status, _, err = running.finish()
    assert (status, err.splitlines()[0].endswith("; spans wait")) == (0, True)


def test_what_makes_room_before_it_was_sent_is_counted():
    port = free_port()
    with run("--port", "0", "--forward", f"http://127.0.0.1:{port}", "--max-spans", "1000") as process:
        running = Collector(process, 1)
        for number in range(4):
            running.post(
                *(
                    span("a", id=f"{number * 500 + n + 1:016x}", traceId=f"{number * 500 + n + 1:016x}")
                    for n in range(500)
                )
            )
        _, _, err = running.finish()
    last = err.splitlines()[-1]
    missed = [int(count) for count in re.findall(r"(\d+) (?:unreachable|deleted)", last)]
    assert sum(missed) == 2000, err


def test_an_outage_and_a_restart_lose_nothing_and_keep_the_order(tmp_path):
    """What one run could not send the next one sends; what was sent is not sent again."""
    port, storage = free_port(), f"sqlite:///{tmp_path}/x.db"
    flags = ("--port", "0", "--storage", storage, "--forward", f"http://127.0.0.1:{port}")

    def post(running, numbers):
        for number in numbers:
            running.post(span(str(number), id=f"{number:016x}"))

    with run(*flags) as process:
        running = Collector(process, 1)
        post(running, range(1, 81))
        status, _, err = running.finish()
    assert (status, err.splitlines()[-1].split(" http")[0]) == (0, "obskit collector: 80 spans wait for")
    with receiver(port=port) as there:
        for _ in range(2):
            with run(*flags) as process:
                running = Collector(process, 1)
                eventually(lambda: len(there.names) >= 80)
                post(running, range(len(there.names) + 1, len(there.names) + 41))
                assert running.finish() == (0, "", "")
        assert there.names == [str(number) for number in range(1, 161)]


def test_a_new_destination_gets_what_comes_from_now_on(tmp_path):
    storage = ("--port", "0", "--storage", f"sqlite:///{tmp_path}/x.db")
    with run(*storage) as process:
        running = Collector(process, 0)
        running.post(span("old"))
        running.finish()
    with receiver() as there, run(*storage, "--forward", there.url) as process:
        running = Collector(process, 1)
        running.post(span("new", id="5" * 16))
        assert running.finish() == (0, "", "")
        assert there.names == ["new"]


def test_spans_that_a_destination_refuses_are_counted_and_hold_nothing_up():
    with receiver(reply(400)) as there, collector(there.url) as running:
        running.post(span("a"))
        eventually(lambda: there.bodies)
        running.post(span("b", id="3" * 16))
        status, _, err = running.finish()
    assert status == 0
    assert re.search(r"spans not forwarded to \S+: 1 \w+$", err.rstrip()), err
    assert "b" in there.names


def test_a_span_that_a_destination_refuses_takes_no_other_with_it(monkeypatch):
    """A Zipkin server refuses the whole message: here for a span id of sixteen zeros, left as it is for once."""
    monkeypatch.setattr("obskit.zipkin.model.sendable", list)
    store = SpanStore()
    try:
        with zipkin_server.running() as port:
            forwarder = Forwarder([f"http://127.0.0.1:{port}"])
            forwarder.start(store)
            ids = ["0" * 16 if number == 11 else f"{number + 1:016x}" for number in range(30)]
            store.add([Span(trace_id="1" * 32, id=id_, name=f"n{number}") for number, id_ in enumerate(ids)])
            forwarder.wake([])
            eventually(lambda: forwarder.counts()[0].waiting == 0)
            forwarder.close(5)
            assert zipkin_names(port) == sorted(f"n{number}" for number in range(30) if number != 11)
            assert forwarder.counts()[0][1:] == (29, 1, 0)
    except zipkin_server.Unavailable as error:
        pytest.skip(f"no Zipkin server: {error}")
    finally:
        store.close()
