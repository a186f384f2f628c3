"""``obskit collector``: runs the embedded Zipkin-compatible collector until Ctrl-C or SIGTERM."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obskit.cli.collector_flags import (
    TOKEN,
    UsageError,
    add_flags,
    default_storage,
    options,
    seconds,
    size,
    whole_number,
)
from obskit.cli.forward import Forwarder, forward_urls, is_cloud_trace
from obskit.cli.stop_signals import StopSignals
from obskit.export.net.url import is_loopback, masked
from obskit.export.zipkin.kafka_url import parse_url

if TYPE_CHECKING:
    import argparse

    from obskit.collector.server import CollectorServer, Intake

_FAILED = 1
_BAD_USAGE = 2
_LARGEST_PORT = 65535
_FORWARD_TIMEOUT = 5.0  # seconds at the end for forwarding the spans that wait
_LOGIN_TIMEOUT = 5.0  # seconds for Google's credentials at the start
_CHECK_INTERVAL = 1.0  # seconds between two checks of the server thread


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("collector", help="run the embedded Zipkin-compatible collector")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal arrives. Return the exit status: 0, 1 for a failure, 2 for bad usage."""
    _choose_storage(args)
    if args.backup:
        return _backup(args)
    try:
        _check_reach(args)
        forwarder = _forwarder(args)
        server = _start(args, forwarder)
    except UsageError as error:
        return _fail(_BAD_USAGE, str(error))
    except ImportError as error:
        return _fail(_FAILED, str(error))
    except OSError as error:
        ports = " or ".join(filter(None, (args.port, args.grpc_port)))
        remedy = "stop what listens there, or choose another --port (0 takes a free one), --grpc-port or --host"
        return _fail(_FAILED, f"cannot listen on {args.host}:{ports}: {error.strerror}; {remedy}")
    except Exception as error:  # the store's and the server's errors say what failed
        return _fail(_FAILED, str(error))
    _look_for_cycles_seldom()
    try:
        return _serve_until_signal(server, forwarder, args)
    finally:
        server.stop()
        for line in forwarder.report():
            _fail(_FAILED, line)


def _look_for_cycles_seldom() -> None:
    """Make the garbage collector look at fewer objects, and less often: spans and answers are in no cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _choose_storage(args: argparse.Namespace) -> None:
    """Open the storage. If none is named, it is a file, or memory if a file is not possible."""
    if args.storage is not None:
        return
    try:
        args.storage = default_storage(os.environ)
    except OSError as error:
        args.storage = "memory"
        remedy = "name a file with --storage sqlite:///PATH, or --storage memory"
        _fail(_FAILED, f"cannot use {error.filename}: {error.strerror}; spans are kept in memory; {remedy}")


def _forwarder(args: argparse.Namespace) -> Forwarder:
    from obskit.collector.store.opening import is_server

    urls = forward_urls(args.forward, os.environ)
    if urls and is_server(args.storage):
        raise UsageError("--forward: spans that a Zipkin server keeps cannot be forwarded; use another --storage")
    if any(map(is_cloud_trace, urls)):
        _check_key_file(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
    try:
        forwarder = Forwarder(urls)
    except ValueError as error:
        raise UsageError(f"--forward: {error}") from None
    for url in filter(is_cloud_trace, urls):
        _log_in(url)
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname in {"localhost", "127.0.0.1", "::1", args.host} and str(parts.port) == args.port:
            remedy = "name another server, or another --port"
            raise UsageError(f"--forward: {masked(url)} is this collector itself; {remedy}")
    return forwarder


def _check_key_file(path: str | None) -> None:
    """Raise UsageError for a bad key file now; it would otherwise fail with the first span only."""
    try:
        if path:
            with open(path, encoding="utf-8") as file:
                json.load(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        remedy = "name a service account's key file, or unset it to use the machine's own account"
        raise UsageError(f"GOOGLE_APPLICATION_CREDENTIALS: {path}: {reason}; {remedy}") from None


def _log_in(url: str) -> None:
    """Raise UsageError for credentials that Google will never accept; tell of those that are not there yet."""
    from obskit.export.cloud_trace.exporter import CloudTraceExporter, parse_url

    outcome = CloudTraceExporter(parse_url(url, os.environ), lambda span: span).log_in(_LOGIN_TIMEOUT)
    if outcome.reason and not outcome.retry:
        raise UsageError(f"{url}: {outcome.detail or outcome.reason}; check GOOGLE_APPLICATION_CREDENTIALS")
    if outcome.reason:
        _fail(_FAILED, f"{url}: {outcome.detail or outcome.reason}; spans wait")


def _start(args: argparse.Namespace, forwarder: Forwarder) -> CollectorServer:
    from obskit.collector.server import CollectorServer

    port = whole_number("--port", args.port, 0, _LARGEST_PORT)
    max_spans = whole_number("--max-spans", args.max_spans, 1, sys.maxsize)
    max_bytes = size("--max-bytes", args.max_bytes)
    max_age = seconds("--max-age", args.max_age) if args.max_age else float("inf")
    try:
        return CollectorServer(
            args.host,
            port,
            args.storage,
            max_spans=max_spans,
            max_bytes=max_bytes,
            max_age=max_age,
            allowed_hosts=args.allow_host,
            intakes=_intakes(args),
            on_stored=forwarder.wake,
            on_start=forwarder.start,
            on_stop=lambda: forwarder.close(_FORWARD_TIMEOUT),
            forwarding=forwarder.counts,
            options=options(args),
        ).start()
    except ValueError as error:
        raise UsageError(f"--storage: {error}") from None


def _intakes(args: argparse.Namespace) -> list[Intake]:
    found: list[Intake] = []
    if args.grpc_port:
        from obskit.collector.intake.grpc_service import GrpcIntake

        port = whole_number("--grpc-port", args.grpc_port, 0, _LARGEST_PORT)
        found.append(GrpcIntake(args.host, port, args.token or None))
    if args.kafka:
        from obskit.collector.intake.kafka_consumer import KafkaIntake

        try:
            brokers, topic, settings = parse_url("kafka://" + args.kafka.removeprefix("kafka://"))
            found.append(KafkaIntake(brokers, topic, settings))
        except ValueError as error:
            raise UsageError(f"--kafka: {error}; give HOST:PORT,HOST:PORT/TOPIC?NAME=VALUE") from None
    return found


def _backup(args: argparse.Namespace) -> int:
    from obskit.collector.store.database import StoreError, backup
    from obskit.collector.store.opening import path_of

    try:
        source = path_of(args.storage)
    except ValueError as error:
        return _fail(_BAD_USAGE, f"--storage: {error}")
    if source is None:
        return _fail(_BAD_USAGE, "--backup: needs --storage sqlite:///PATH, the file to copy")
    try:
        backup(source, args.backup)
    except StoreError as error:
        return _fail(_FAILED, str(error))
    return 0


def _check_reach(args: argparse.Namespace) -> None:
    """Raise UsageError for a --host beyond loopback without --token or --open, as traces are confidential."""
    where = _reach(args.host)
    if where and not args.token and not args.open:
        remedy = f"give --token (or {TOKEN}), or --open on a trusted network"
        raise UsageError(f"--host: {args.host} would admit anyone from {where}; {remedy}")


def _serve_until_signal(server: CollectorServer, forwarder: Forwarder, args: argparse.Namespace) -> int:
    from obskit.collector.store.opening import where as storage_of

    stop = StopSignals()
    print(f"obskit collector keeps spans in {storage_of(args.storage)} and listens on {server.url}", flush=True)
    if where := _reach(server.host):
        who = "who knows the token" if args.token else "whoever reaches it"
        print(f"obskit collector is open to {where}: {who} can read and write all traces", flush=True)
    for intake in server.intakes:
        print(f"obskit collector takes spans over {intake}", flush=True)
    for destination in forwarder.destinations:
        print(f"obskit collector forwards to {destination}", flush=True)
    while not stop.wait(_CHECK_INTERVAL):
        if not server.running:
            return _fail(_FAILED, "the server thread died; the log has the reason")
    return 0


def _reach(host: str) -> str:
    """Return from where the server can be reached, if not from this machine only."""
    if is_loopback(host):
        return ""
    return "every network interface" if host in {"", "0.0.0.0", "::"} else f"the network of {host}"


def _fail(status: int, message: str) -> int:
    print(f"obskit collector: {message}", file=sys.stderr)
    return status
