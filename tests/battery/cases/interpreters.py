"""What happens inside CPython: profiling signals, subinterpreters, clients that cannot cross a fork."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.battery.backend import backend
from tests.battery.lab import Lab
from tests.battery.registry import case
from tests.battery.tools import need


@case(
    44,
    "profiler",
    "1 kHz sampling with native polls, forks, dying threads and a SIGPROF handler",
    "no crash, no EINTR; the handler is back",
)
def profiler(lab: Lab) -> str:
    folder = lab.folder / "profiles"
    folder.mkdir()
    options = {"PROFILER": "builtin", "PROFILER_OUTPUT": str(folder), "PROFILER_HZ": "1000"}
    always = {"PROFILER_DURATION": "1.0", "PROFILER_INTERVAL": "1.0"}
    variables = {f"OBSKIT_{name}": value for name, value in {**options, **always}.items()}
    with backend() as server:
        run = lab.compare("profiled", server.url, 10 if lab.thorough else 2.5, **variables)
    profiles = sorted(folder.glob("*.pprof.gz"))
    assert run.out == "[0]\nTrue\n", f"errno of polls, and whether the handler is back: {run.out}"
    assert profiles, "no profile was written"
    counts = "{polls} polls, {forks} forks, {deaths} threads".format(**run.notes)
    return f"{len(profiles)} profiles amid {counts}; exit {run.code}"


@case(
    55,
    "ft-subinterp",
    "init() in 50 subinterpreters; free-threaded CPython",
    "no crash, or a clear refusal",
    quick=False,
)
def subinterpreters(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("subinterpreters", server.url, timeout=180)
        assert run.code == 0, f"exit {run.code}: {run.err[-500:]}"
        lab.settled(run, server, 1)
    # What init() says in an isolated one goes to standard error: the battery's file is set up in the main one only.
    refusals = sorted({*run.notes["refusals"], *run.err.splitlines()})
    assert all("Import" in text or "subinterpreter" in text for text in refusals), refusals
    free = next((name for name in ("python3.14t", "python3.13t") if shutil.which(name)), None)
    return f"50 subinterpreters: {refusals or 'all work'}; free-threaded: {free or 'none on this machine'}"


@case(59, "client-fork", "gRPC and Kafka exporters in use, then forks", "each child builds its own; no hang")
def clients_fork(lab: Lab) -> str:
    need("grpc", "confluent_kafka")
    figures = []
    for name, place in (("gRPC", _grpc_server), ("Kafka", _kafka_cluster)):
        with place() as (url, count):
            run = lab.compare("forking_client", url)
            arrived = count()
            assert arrived == 5, f"{name}: delivered {arrived}/5, exit {run.code}"
            figures.append(f"{name}: delivered 5/5")
    return ", ".join(figures)


@contextmanager
def _grpc_server() -> Iterator[tuple[str, Any]]:
    """Zipkin's SpanService; gives its URL and what counts the spans that came."""
    import grpc

    bodies: list[bytes] = []

    def report(body: bytes, _context: Any) -> bytes:
        bodies.append(body)
        return b""

    server = grpc.server(ThreadPoolExecutor(4))
    method = grpc.unary_unary_rpc_method_handler(report)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("zipkin.proto3.SpanService", {"Report": method})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", lambda: sum(_proto3_spans(body) for body in bodies)
    finally:
        server.stop(0)


def _proto3_spans(body: bytes) -> int:
    """Count the spans of a zipkin.proto3.ListOfSpans: fields of number 1, each with its length before it."""
    count = place = 0
    while place < len(body):
        assert body[place] == 0x0A
        size = shift = 0
        place += 1
        while body[place] & 0x80:
            size |= (body[place] & 0x7F) << shift
            shift += 7
            place += 1
        size |= body[place] << shift
        place += 1 + size
        count += 1
    return count


@contextmanager
def _kafka_cluster() -> Iterator[tuple[str, Any]]:
    """Librdkafka's own brokers on real sockets; gives their URL and what counts the spans that came."""
    import json

    from confluent_kafka import Consumer, Producer

    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored", "log_level": 3})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    servers = f"{broker.host}:{broker.port}"

    def count() -> int:
        consumer = Consumer({"bootstrap.servers": servers, "group.id": "battery", "auto.offset.reset": "earliest"})
        consumer.subscribe(["zipkin"])
        found, idle = 0, 0
        while found < 5 and idle < 20:
            message = consumer.poll(0.5)
            idle += message is None
            if message is not None and not message.error():
                value = message.value()
                found += len(json.loads(value)) if value.startswith(b"[") else _proto3_spans(value)
        consumer.close()
        return found

    yield f"kafka://{servers}/zipkin", count
