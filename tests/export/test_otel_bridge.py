"""OpenTelemetry's exporters and processors receive our spans as the SDK's own."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

import obskit
from obskit.instrumentation.rpc import begin_call, finish
from obskit.instrumentation.tracer import provider, tracer
from tests.export.receiver import receiver, run

pytestmark = pytest.mark.usefixtures("fresh")


def exported(make, **options):
    """Return the spans that an in-memory exporter has after ``make``."""
    memory = InMemorySpanExporter()
    obskit.init(service="orders", version="1.4", exporter=memory, integrations=[], **options)
    make()
    assert obskit.flush()
    return memory.get_finished_spans()


def server_span():
    tags = {"http.method": "GET", "http.path": "/a", "http.route": "/{x}", "http.status_code": "503", "own": 1}
    span = tracer.start("GET /{x}", SpanKind.SERVER, None, tags)
    span.tag("http.host", "shop.example:8080")
    span.remote_endpoint = ("10.0.0.7", 5555)
    span.error("503")
    span.end()


def test_tags_have_the_names_of_the_stable_semantic_conventions():
    (span,) = exported(server_span)
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.path": "/a",
        "http.route": "/{x}",
        "http.response.status_code": 503,
        "server.address": "shop.example",
        "server.port": 8080,
        "network.peer.address": "10.0.0.7",
        "network.peer.port": 5555,
        "own": 1,
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None), "the attribute says 503"
    assert (span.name, span.kind) == ("GET /{x}", SpanKind.SERVER)


def test_a_calls_method_is_named_in_full():
    def make():
        span, _, _ = begin_call(b"/shop.Orders/Get", b"orders:50051", (b"",), {})
        finish(span, "NOT_FOUND")

    (span,) = exported(make)
    assert dict(span.attributes) == {
        "rpc.method": "shop.Orders/Get",
        "rpc.response.status_code": "NOT_FOUND",
        "server.address": "orders",
        "server.port": 50051,
    }


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return what installs an exporter of a name, as a package's metadata does."""

    def install(name: str, target: str) -> None:
        metadata = tmp_path / "exporters-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: exporters\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[opentelemetry_traces_exporter]\n{name} = {target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_a_client_span_has_its_full_url():
    def make():
        span = tracer.start("GET", SpanKind.CLIENT, None, {"http.url": "http://[::1]:9/x", "http.host": "[::1]:9"})
        span.end()

    (span,) = exported(make)
    assert dict(span.attributes) == {"url.full": "http://[::1]:9/x", "server.address": "::1", "server.port": 9}


def test_ids_times_scope_resource_events_and_links_are_the_sdks_own():
    other = SpanContext(1, 2, True)

    def make():
        library = provider.get_tracer("library", "2.0")
        with library.start_as_current_span("parent", links=[Link(other, {"a": 1})]) as parent:
            parent.add_event("event", {"key": "value"}, 1234)
            with library.start_as_current_span("child", start_time=5_000_000_000) as child:
                child.set_status(Status(StatusCode.OK))

    child, parent = exported(make)
    assert child.parent.span_id == parent.context.span_id
    assert child.context.trace_id == parent.context.trace_id
    assert parent.parent is None
    assert child.start_time == 5_000_000_000
    assert parent.start_time <= parent.end_time
    assert (child.status.status_code, parent.status.status_code) == (StatusCode.OK, StatusCode.UNSET)
    assert [(event.name, event.timestamp, dict(event.attributes)) for event in parent.events] == [
        ("event", 1234, {"key": "value"})
    ]
    assert [(link.context, dict(link.attributes)) for link in parent.links] == [(other, {"a": 1})]
    assert (parent.instrumentation_scope.name, parent.instrumentation_scope.version) == ("library", "2.0")
    assert parent.resource.attributes["service.name"] == "orders"
    assert parent.resource.attributes["service.version"] == "1.4"
    assert parent.resource.attributes["telemetry.sdk.name"] == "obskit"
    assert json.loads(parent.to_json())["name"] == "parent"


def test_values_on_which_exporters_lose_a_batch_are_made_harmless():
    def make():
        with obskit.span("a\ud800", giant=10**5000, giants=[2**70], text="\ud800", fine=2**63 - 1) as span:
            span.add_event("e", {"giant": 2**64})

    (span,) = exported(make)
    assert span.name == "a?"
    assert span.attributes["giants"] == (str(2**70),)
    assert span.attributes["giant"].startswith("0x")
    assert span.attributes["text"] == "?"
    assert span.attributes["fine"] == 2**63 - 1
    assert span.events[0].attributes["giant"] == str(2**64)


def test_an_exporter_keeps_working_when_other_options_change_and_sees_a_new_service():
    memory = InMemorySpanExporter()
    for service in ("one", "two"):
        obskit.init(service=service, exporter=memory, integrations=[])
        with obskit.span("a"):
            pass
        assert obskit.flush()
    assert [span.resource.attributes["service.name"] for span in memory.get_finished_spans()] == ["one", "two"]


def test_an_exporter_that_is_replaced_or_shut_down_is_shut_down_once():
    class Counted(InMemorySpanExporter):
        shut = 0

        def shutdown(self) -> None:
            self.shut += 1

    first, second = Counted(), Counted()
    obskit.init(exporter=first, integrations=[])
    with obskit.span("a"):
        pass
    obskit.init(exporter=second, integrations=[])
    with obskit.span("b"):
        pass
    assert obskit.flush()
    assert obskit.shutdown()
    assert obskit.shutdown()
    assert [span.name for one in (first, second) for span in one.get_finished_spans()] == ["a", "b"]
    assert (first.shut, second.shut) == (1, 1)


def test_an_exporter_that_answers_failure_is_counted():
    class Failing(SpanExporter):
        def export(self, spans):
            return SpanExportResult.FAILURE

    obskit.init(exporter=Failing(), integrations=[])
    with obskit.span("a"):
        pass
    assert not obskit.flush()
    assert obskit.stats()["exporters"][0]["dropped"] == {"exporter_failed": 1}


def test_an_exporter_that_raises_is_named_as_the_one_at_fault_once_with_its_traceback(caplog):
    class Bad(SpanExporter):
        def export(self, spans):
            raise RuntimeError("no such table")

        def shutdown(self):
            raise RuntimeError("no such thread")

    obskit.init(exporter=Bad(), integrations=[])
    failures = obskit.stats()["failures"]
    for _ in range(2):
        with obskit.span("a"):
            pass
        assert not obskit.flush()
    assert obskit.stats()["exporters"][0]["dropped"] == {"exporter_error": 2}
    obskit.shutdown()
    assert obskit.stats()["failures"] == failures, "obskit itself did not fail"
    raised, lost = (record for record in caplog.records if record.levelname == "WARNING")
    assert raised.getMessage() == "export() of the OpenTelemetry exporter Bad raised; the application is not affected"
    assert raised.exc_info
    assert "no such table" in str(raised.exc_info[1])
    assert lost.getMessage() == (
        "1 span could not be delivered to otel:Bad (the exporter raised RuntimeError: no such table); it is lost"
    )


class Unbuildable(InMemorySpanExporter):
    """What an entry point may name: a constructor that wants what is not there, or raises whatever it likes."""

    error: BaseException | None = RuntimeError("no endpoint")
    ended = 0

    def __init__(self):
        if self.error is not None:
            raise self.error
        super().__init__()

    def shutdown(self):
        type(self).ended += 1


@pytest.mark.parametrize("error", [RuntimeError("no endpoint"), SystemExit("no endpoint")])
def test_an_exporter_that_cannot_be_built_is_named_as_the_one_at_fault_once_and_tried_again(
    error, install, monkeypatch, caplog
):
    install("unbuildable", f"{__name__}:Unbuildable")
    monkeypatch.setattr(Unbuildable, "ended", 0)
    monkeypatch.setattr(Unbuildable, "error", error)
    obskit.init(exporter="otel:unbuildable", integrations=[])
    failures = obskit.stats()["failures"]
    for _ in range(2):
        with obskit.span("a"):
            pass
        assert not obskit.flush()
    (stats,) = obskit.stats()["exporters"]
    assert (stats["dropped"], obskit.stats()["failures"]) == ({"exporter_error": 2}, failures)
    unbuilt, lost = (record for record in caplog.records if record.levelname == "WARNING")
    assert unbuilt.getMessage() == (
        "the OpenTelemetry exporter otel:unbuildable could not be built; the application is not affected"
    )
    assert "no endpoint" in str(unbuilt.exc_info[1])
    assert lost.getMessage() == (
        f"1 span could not be delivered to otel:unbuildable (the exporter raised {type(error).__name__}: no endpoint); "
        "it is lost"
    )
    monkeypatch.setattr(Unbuildable, "error", None)
    with obskit.span("a"):
        pass
    assert obskit.flush()
    assert obskit.shutdown()
    assert Unbuildable.ended == 1


def test_an_exporter_whose_package_lacks_another_is_named_too(install, caplog):
    install("lacking", "no_such_package_anywhere:Exporter")
    obskit.init(exporter="otel:lacking", integrations=[])
    with obskit.span("a"):
        pass
    assert not obskit.flush()
    assert "the OpenTelemetry exporter otel:lacking could not be built" in caplog.text
    assert "No module named 'no_such_package_anywhere'" in caplog.text
    assert "inside obskit" not in caplog.text
    assert obskit.shutdown()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_exporter_that_raises_as_it_is_shut_down_is_named_and_survived(error, caplog):
    class Bad(InMemorySpanExporter):
        def shutdown(self):
            raise error

    obskit.init(exporter=Bad(), integrations=[])
    with obskit.span("a"):
        pass
    assert obskit.shutdown()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["shutdown() of the OpenTelemetry exporter Bad raised; the application is not affected"]


@pytest.mark.parametrize("exporter", ["'otel:console'", "ConsoleSpanExporter()"])
def test_the_console_exporter_prints(exporter):
    code = "import obskit; from opentelemetry.sdk.trace.export import ConsoleSpanExporter; "
    done = run(code + f"obskit.init(exporter={exporter}, integrations=[]); obskit.span('printed').__enter__().end()")
    assert (json.loads(done.stdout)["name"], done.stderr) == ("printed", "")


class Watching(SpanProcessor):
    def __init__(self):
        self.calls = []

    def on_start(self, span, parent_context=None):
        span.set_attribute("by.processor", True)
        self.calls.append(("start", span.name, parent_context is not None))

    def on_end(self, span):
        self.calls.append(("end", span.name, dict(span.attributes)))

    def force_flush(self, timeout_millis=30_000):
        self.calls.append(("flush", 0 <= timeout_millis <= 5000))
        return True

    def shutdown(self):
        self.calls.append(("shutdown",))


def test_a_processor_sees_each_sampled_span_start_and_end_and_is_flushed_and_shut_down():
    watching = Watching()
    obskit.init(exporter="none", integrations=[])
    provider.add_span_processor(watching)
    with obskit.span("a"):
        pass
    obskit.init(exporter="none", integrations=[], sample_rate=0)
    with obskit.span("unsampled"):
        pass
    assert obskit.flush(5.0)
    assert obskit.shutdown(5.0)
    with obskit.span("after"):
        pass
    assert watching.calls == [
        ("start", "a", True), ("end", "a", {"by.processor": True}), ("flush", True), ("flush", True), ("shutdown",),
    ]  # fmt: skip


def test_a_processor_and_an_exporter_both_get_each_span_once():
    memory, processed = InMemorySpanExporter(), InMemorySpanExporter()
    obskit.init(exporter=memory, integrations=[])
    provider.add_span_processor(SimpleSpanProcessor(processed))
    with obskit.span("a"):
        pass
    assert obskit.flush()
    assert [len(one.get_finished_spans()) for one in (memory, processed)] == [1, 1]


def test_a_batch_processor_is_flushed_by_opentelemetrys_own_call():
    memory = InMemorySpanExporter()
    obskit.init(exporter="none", integrations=[])
    provider.add_span_processor(BatchSpanProcessor(memory, schedule_delay_millis=3_600_000))
    with obskit.span("a"):
        pass
    assert provider.force_flush(10_000)
    assert [span.name for span in memory.get_finished_spans()] == ["a"]


def test_opentelemetrys_own_flush_and_shutdown_deliver_everything():
    with receiver() as server:
        obskit.init(exporter=server.url, integrations=[], flush_interval=3600)
        with obskit.span("a"):
            pass
        assert provider.force_flush()
        assert server.names == ["a"]
        with obskit.span("b"):
            pass
        provider.shutdown()
        assert server.names == ["a", "b"]


def test_processors_that_raise_break_nothing_hold_up_no_other_and_are_named_once_for_each_call(caplog):
    class Raising(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise ValueError("start")

        def on_end(self, span):
            raise ValueError("end")

        def force_flush(self, timeout_millis=0):
            raise ValueError("flush")

        def shutdown(self):
            raise ValueError("shutdown")

    watching = Watching()
    obskit.init(exporter="none", integrations=[])
    failures = obskit.stats()["failures"]
    provider.add_span_processor(Raising())
    provider.add_span_processor(watching)
    with obskit.span("a"):
        pass
    assert not obskit.flush()
    assert not obskit.shutdown()
    assert obskit.stats()["failures"] == failures, "obskit itself did not fail"
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in told] == [
        f"{method}() of the OpenTelemetry span processor Raising raised; the application is not affected"
        for method in ("on_start", "on_end", "force_flush", "shutdown")
    ]
    assert [str(record.exc_info[1]) for record in told] == ["start", "end", "flush", "shutdown"]
    assert [call[0] for call in watching.calls] == ["start", "end", "flush", "flush", "shutdown"]


def test_without_processors_ended_spans_go_straight_to_the_pipeline():
    code = """
import obskit
from obskit.instrumentation.tracer import provider
obskit.init(exporter="console")
print(provider.report.__func__.__qualname__)
"""
    assert run(code).stdout == "Pipeline.offer\n"
