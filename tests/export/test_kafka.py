"""Spans over Kafka: a real broker takes them, and a real Zipkin server reads them from it."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

import obskit
from obskit.export.delivery.collector_report import CollectorReport
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE
from obskit.export.delivery.ledger import Ledger
from obskit.export.destinations import Making, parse
from obskit.export.zipkin.exporters import encoding
from obskit.export.zipkin.kafka import ZipkinKafkaExporter
from obskit.export.zipkin.kafka_url import KafkaTarget, parse_url
from obskit.settings import ConfigurationError, load
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.model import Annotation, Endpoint, Span
from tests import kafka_server, zipkin_server
from tests.export.receiver import eventually, free_port, run

confluent_kafka = pytest.importorskip("confluent_kafka")

SPAN = Span(
    trace_id="463ac35c9f6413ad48485a3953bb6124",
    id="a2fb4a1d1a96d312",
    kind="CLIENT",
    name="get /orders/{id}",
    timestamp=1_700_000_000_000_000,
    duration=1234,
    local_endpoint=Endpoint("orders", ipv4="10.0.0.1"),
    annotations=[Annotation(1_700_000_000_000_100, "sent")],
    tags={"http.method": "GET", "error": "Grüße"},
)
MAKING = Making(convert=lambda: lambda span: span, resource=lambda: None)


def exporter(address: str, topic: str = "zipkin", name: str = "json", **settings: str) -> ZipkinKafkaExporter:
    return ZipkinKafkaExporter(KafkaTarget(address, topic, settings), lambda span: span, encoding(name))


def send(one: ZipkinKafkaExporter, *spans: Span, seconds: float = 60.0):
    return one.send([one.encode(span) for span in spans], time.monotonic() + seconds)


# --- the URL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("kafka://b", KafkaTarget("b", "zipkin", {})),
        ("kafka://b1:9092,b2:9093/", KafkaTarget("b1:9092,b2:9093", "zipkin", {})),
        ("kafka://[::1]:9092,10.0.0.1/my.topic-1_x", KafkaTarget("[::1]:9092,10.0.0.1", "my.topic-1_x", {})),
        (
            "kafka://b/t?sasl.username=a%26b&sasl.password=p+/?@=%25#",
            KafkaTarget("b", "t", {"sasl.username": "a&b", "sasl.password": "p+/?@=%#"}),
        ),
    ],
)
def test_a_url_names_brokers_a_topic_and_settings(url, expected):
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("kafka://", "no broker"),
        ("kafka://b1,/t", "no broker"),
        ("kafka://b:0", "port 0"),
        ("kafka://b:65536", "port 65536"),
        ("kafka://b:x", "no broker"),
        ("kafka://user:geheim@b:1/t", "sasl.username"),
        ("kafka://b/a/b", "topic"),
        ("kafka://b/..", "topic"),
        ("kafka://b/t?geheim", "NAME=VALUE"),
        ("kafka://b/t?=geheim", "NAME=VALUE"),
        ("kafka://b/t?bootstrap.servers=geheim", "bootstrap.servers"),
        ("kafka://b/t?error_cb=geheim", "error_cb"),
        ("kafka://b/t?plugin.library.paths=geheim", "plugin.library.paths"),
        ("kafka://b/t?sasl.kerberos.kinit.cmd=geheim", "sasl.kerberos.kinit.cmd"),
        ("kafka://b/t?ssl.engine.location=geheim", "ssl.engine.location"),
        ("kafka://b/t?ssl.engine.id=geheim", "ssl.engine.id"),
        ("kafka://b/t?ssl.providers=geheim", "ssl.providers"),
        ("kafka://b/t?Plugin.Library.Paths=geheim", "small letters"),
        ("kafka://b/t?plugin%2Elibrary.paths=geheim", "small letters"),
    ],
)
def test_a_bad_url_is_an_error_that_says_what_is_wrong_and_no_secret(url, complaint):
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        load({"exporter": url}, {})
    assert "geheim" not in str(raised.value)


def test_commas_between_brokers_do_not_end_an_exporter():
    text = "kafka://b1:9092,b2:9092/zipkin, http://z:9411 ,kafka://b3,b4,console"
    found = [one.target for one in load({"exporter": text}, {}).exporter]
    assert found == [
        "kafka://b1:9092,b2:9092/zipkin",
        "http://z:9411",
        "kafka://b3,b4",
        "console",
    ]


def test_the_destination_is_shown_without_its_settings():
    shown, _ = parse("kafka://b1:9092,b2/zipkin?sasl.password=geheim").plan(MAKING)
    assert shown == "kafka://b1:9092,b2/zipkin"


# --- librdkafka, without a broker ------------------------------------------------------------------------


def test_where_nobody_listens_it_says_so_and_does_not_wait_for_the_deadline():
    one = exporter(f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    start = time.monotonic()
    outcome = send(one, SPAN, seconds=3600)
    assert time.monotonic() - start < 60  # not a measurement: else it takes an hour
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert "Connection refused" in outcome.detail


def test_a_name_that_does_not_resolve_is_named():
    outcome = send(exporter("nobody.invalid"), SPAN)
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert "nobody.invalid" in outcome.detail


def test_the_deadline_is_kept_where_the_broker_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        outcome = send(exporter(f"127.0.0.1:{silent.getsockname()[1]}"), SPAN, seconds=0.3)
        assert time.monotonic() - start < 20  # not a measurement: librdkafka by itself takes minutes
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"sasl.pasword": "geheim"}, 'No such configuration property: "sasl.pasword"'),
        ({"security.protocol": "geheim"}, "Invalid value *** for"),
        ({"security.protocol": "SSL", "ssl.key.pem": "geheim"}, "ssl.key.pem failed"),
        ({"ssl.key.password": "geheim", "plugin.library.paths": "/geheim"}, "dlopen() failed"),
    ],
)
def test_a_setting_that_librdkafka_does_not_take_is_named_and_no_secret(settings, detail):
    outcome = send(exporter("127.0.0.1:9092", **settings), SPAN)
    assert (outcome.reason, outcome.retry) == ("bad_setting", False)
    assert detail in outcome.detail
    assert "geheim" not in outcome.detail


def test_where_the_library_cannot_be_imported_after_all_the_warning_names_the_remedy():
    code = """
import sys, obskit
obskit.init(service="test", exporter="kafka://127.0.0.1:1", integrations=[])
sys.modules["confluent_kafka"] = None
with obskit.span("lost"): pass
obskit.flush()
print(obskit.stats()["exporters"][0]["dropped"])
"""
    done = run(code)
    assert done.stdout == "{'not_installed': 1}\n"
    assert done.stderr.count("\n") == 1
    assert "pip install 'obskit[kafka]'" in done.stderr


def test_librdkafka_writes_nothing_where_the_application_does():
    code = """
import sys, obskit
obskit.init(service="test", exporter=sys.argv[1], integrations=[])
with obskit.span("kept"): pass
print("application")
"""
    done = run(code, f"kafka://127.0.0.1:{free_port()}?group.id=ignored")
    assert (done.returncode, done.stdout) == (0, "application\n")
    assert done.stderr.count("\n") == 1
    assert "Connection refused" in done.stderr


# --- a broker --------------------------------------------------------------------------------------------


def messages(broker: kafka_server.Broker, topic: str, count: int) -> list[bytes]:
    """Return what is in ``topic``, once there are ``count`` messages."""
    reader = confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": topic, "log_level": 0})
    try:
        reader.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
        found: list[bytes] = []
        eventually(
            lambda: found.extend(m.value() for m in reader.consume(100, 0.1) if not m.error()) or len(found) >= count,
            30,
        )
        return found
    finally:
        reader.close()


def names(broker: kafka_server.Broker, topic: str, count: int) -> Counter:
    """Return how often each span's name is in ``topic``, once there are ``count`` messages."""
    return Counter(span.name for body in messages(broker, topic, count) for span in decode_list(body))


@pytest.mark.parametrize("name", ["json", "proto3"])
def test_a_batch_is_one_message_as_zipkin_reads_it(broker, topic, name):
    one = exporter(broker.address, topic, name)
    encoded = [one.encode(SPAN), one.encode(Span(trace_id="1" * 16, id="1" * 16))]
    assert one.send(encoded, time.monotonic() + 20) is DELIVERED
    assert one.send(encoded[:1], time.monotonic() + 20) is DELIVERED
    assert one.send(encoded[:1], time.monotonic() + 20) is DELIVERED
    one.close()
    join = encoding(name).join
    assert messages(broker, topic, 3) == [join(encoded), join(encoded[:1]), join(encoded[:1])]


def test_a_message_that_the_broker_refuses_for_its_size_is_too_large(broker, topic):
    for settings in ({}, {"message.max.bytes": "5000000", "compression.type": "none"}):
        one = exporter(broker.address, topic, **settings)
        outcome = send(one, Span(trace_id="1" * 16, id="1" * 16, tags={"a": "x" * 1_100_000}))
        assert (outcome.too_large, outcome.retry, outcome.reason) == (True, False, "kafka_too_large")
        assert send(one, SPAN) is DELIVERED
        one.close()


def secure(broker: kafka_server.Broker, password: str) -> str:
    settings = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": kafka_server.USER,
        "sasl.password": password,
        "ssl.ca.location": str(kafka_server.CERTIFICATE),
    }
    return f"kafka://{broker.secure}/zipkin?" + "&".join(f"{k}={quote(v)}" for k, v in settings.items())


def test_tls_and_a_password_come_from_the_url(broker):
    _, build = parse(secure(broker, kafka_server.PASSWORD)).plan(MAKING)
    one = build()
    assert send(one, SPAN) is DELIVERED
    one.close()


def test_a_wrong_password_is_said_once_and_not_shown(broker):
    _, build = parse(secure(broker, "geheim")).plan(MAKING)
    outcome = send(build(), SPAN)
    assert (outcome.reason, outcome.retry) == ("unauthenticated", False)
    assert "geheim" not in outcome.detail


def test_a_certificate_that_is_not_trusted_is_named(broker):
    outcome = send(exporter(broker.secure, **{"security.protocol": "SSL"}), SPAN)
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert "certificate verify failed" in outcome.detail


def test_a_broker_that_hangs_costs_the_deadline_and_what_was_sent_comes_again(broker, topic):
    one = exporter(broker.address, topic)
    assert send(one, SPAN) is DELIVERED
    assert send(one, SPAN) is DELIVERED
    with broker.paused():
        outcome = send(one, SPAN, seconds=0.5)
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert send(one, SPAN) is DELIVERED
    one.close()


class Way:
    """Leads from ``port`` to the broker, while it is open."""

    def __init__(self, port: int, target: int) -> None:
        self._target = target
        self._port = port
        self._sockets: list[socket.socket] = []

    def open(self) -> None:
        listener = eventually(self._listener, 30)
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def _listener(self) -> socket.socket | None:
        """Listen, unless another connection of this machine has the port as its own end for the moment."""
        try:
            return socket.create_server(("127.0.0.1", self._port))
        except OSError:
            return None

    def close(self) -> None:
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            if listener.fileno() < 0:  # closed meanwhile
                self.close()
                return
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=pair, daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@contextmanager
def way(broker: kafka_server.Broker) -> Iterator[Way]:
    found = Way(broker.via, broker.inside)
    try:
        yield found
    finally:
        found.close()


def test_a_broker_that_goes_away_and_comes_back_gets_each_span_once(broker, topic, fresh):
    with way(broker) as path:
        path.open()
        obskit.init(
            service="test",
            exporter=f"kafka://127.0.0.1:{broker.via}/{topic}",
            integrations=[],
            flush_interval=0,
            export_timeout=30,  # a slow answer that is not waited for would be another delivery
            logs="off",
        )
        for name in ("before", "before again"):
            with obskit.span(name):
                pass
            assert obskit.flush(20)
        path.close()
        with obskit.span("while away"):
            pass
        assert not obskit.flush(3)
        path.open()
        assert obskit.flush(40)
        with obskit.span("after"):
            pass
        assert obskit.flush(20)
    counters = obskit.stats()["exporters"][0]
    assert (counters["produced"], counters["delivered"], counters["dropped"]) == (4, 4, {})
    assert names(broker, topic, 4) == {"before": 1, "before again": 1, "while away": 1, "after": 1}


# --- forks, and the end of a program ---------------------------------------------------------------------

START = """
import gc, os, sys, obskit
obskit.init(service="test", exporter=sys.argv[1], integrations=[], flush_interval=0)
def sent(name):
    with obskit.span(name): pass
    assert obskit.flush(20)
"""
FORKS = {
    "exit": "sent('child'); sys.exit()",
    "nothing": "sys.exit()",
    "collect": "gc.collect(); sent('child'); gc.collect(); sys.exit()",
    "grandchild": """
    if os.fork() == 0: sent('grandchild'); sys.exit()
    os.wait(); sent('child'); sys.exit()""",
    "shutdown": "sent('child'); obskit.shutdown(unpatch=True); os._exit(0)",
}


@pytest.mark.parametrize("child", FORKS)
def test_a_forked_child_has_a_client_of_its_own_and_leaves_the_parents_alone(broker, topic, child):
    code = START + f"sent('before'); sent('again')\nif os.fork() == 0:\n    {FORKS[child]}\n"
    code += "print(os.waitstatus_to_exitcode(os.wait()[1]))\nsent('after')"
    done = run(code, f"kafka://{broker.address}/{topic}")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    expected = {"before": 1, "again": 1, "after": 1}
    expected |= {name: 1 for name in ("child", "grandchild") if f"sent('{name}')" in FORKS[child]}
    assert names(broker, topic, len(expected)) == expected


@pytest.mark.parametrize("ending", ["one.close(); del one", "del one", "pass"])
def test_a_forked_child_never_ends_the_parents_producer_whose_threads_it_would_wait_for(broker, topic, ending):
    code = """
import _thread, gc, os, sys, time
from confluent_kafka import Producer
from obskit.export.destinations import Making, parse
one = parse(sys.argv[1]).plan(Making(lambda: lambda span: span, lambda: None))[1]()
for _ in range(2):
    assert not one.send([b"{}"], time.monotonic() + 20).reason
if os.fork() == 0:
    ENDING
    gc.collect()
    while _thread._count(): time.sleep(0.01)
    print(any(isinstance(each, Producer) for each in gc.get_objects())); sys.exit()
os.wait()
assert not one.send([b"{}"], time.monotonic() + 20).reason
"""
    done = run(code.replace("ENDING", ending), f"kafka://{broker.address}/{topic}")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert len(messages(broker, topic, 3)) == 3


def test_children_of_multiprocessing_that_end_at_once_deliver(broker, topic):
    code = """
import multiprocessing, sys, obskit
def work(number):
    with obskit.span(f"child {number}"): pass
if __name__ == "__main__":
    obskit.init(service="test", exporter=sys.argv[1], integrations=[], exit_timeout=20)
    with obskit.span("parent"): pass
    assert obskit.flush(20)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=[number]) for number in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    print([child.exitcode for child in children])
"""
    done = run(code, f"kafka://{broker.address}/{topic}")
    assert done.stdout == "[0, 0, 0]\n", done.stderr
    assert names(broker, topic, 4) == {"parent": 1, "child 0": 1, "child 1": 1, "child 2": 1}


@pytest.mark.parametrize("place", ["plain", "secure"])
def test_a_program_that_ends_at_once_delivers_and_ends_well(broker, place):
    topic = f"test-{uuid.uuid4()}"
    url = f"kafka://{broker.address}/{topic}"
    if place == "secure":
        url = secure(broker, kafka_server.PASSWORD).replace("/zipkin?", f"/{topic}?")
    code = """
import sys, obskit
obskit.init(service="test", exporter=sys.argv[1], integrations=[], exit_timeout=20)
with obskit.span("only"): pass
"""
    done = run(code, url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(broker, topic, 1) == {"only": 1}


# --- Zipkin behind it ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zipkin(broker) -> Iterator[str]:
    try:
        with zipkin_server.running(KAFKA_BOOTSTRAP_SERVERS=broker.address) as port:
            yield f"http://127.0.0.1:{port}"
    except zipkin_server.Unavailable as error:
        pytest.skip(f"no Zipkin server: {error}")


@pytest.mark.parametrize("name", ["json", "proto3"])
def test_a_zipkin_server_reads_the_spans_as_they_were_sent(broker, zipkin, fresh, name, capsys):
    url = f"kafka://{broker.address}"
    obskit.init(service="orders", exporter=[url, "console"], zipkin_encoding=name, integrations=[], logs="off")
    with obskit.span("GET /orders/{id}", text='a "quoted" Grüße 🎈') as parent:
        parent.annotate("halfway")
        parent.tag("long", "日" * 10_000)  # on two of three borders between its pieces, wherever these are
        with obskit.span("child", **{"sql.query": "SELECT 1"}) as child:
            child.error(ValueError("broken"))
    assert obskit.flush(20)
    expected = {line for line in capsys.readouterr().out.splitlines() if line.startswith("{")}
    assert len(expected) == 2
    trace_id = json.loads(min(expected))["traceId"]
    found = eventually(lambda: complete(f"{zipkin}/api/v2/trace/{trace_id}", 2), 60)
    assert by_id(found) == by_id([json.loads(line) for line in expected])


def test_a_zipkin_server_leaves_out_the_header_that_says_what_was_lost(broker, zipkin, fresh):
    report = CollectorReport("orders", "spans")
    report.ledger = Ledger([])
    report.ledger.lose("queue_full", 7)
    target = KafkaTarget(broker.address, "zipkin", {})
    one = ZipkinKafkaExporter(target, lambda span: span, encoding("json"), report)
    assert send(one, Span(trace_id="7" * 32, id="7" * 16)) is DELIVERED
    one.close()
    assert eventually(lambda: complete(f"{zipkin}/api/v2/trace/{'7' * 32}", 1), 60)


def complete(url: str, count: int) -> list[dict] | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            spans = json.load(response)
    except urllib.error.HTTPError:
        return None
    return spans if len(spans) == count else None


def by_id(spans: list[dict]) -> dict[str, dict]:
    return {span["id"]: span for span in spans}
