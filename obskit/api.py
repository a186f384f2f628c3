"""The public calls, as users type them."""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.values import text
from obskit.instrumentation.tracer import propagator, tracer
from obskit.logs.context import log_context
from obskit.propagation import mesh
from obskit.propagation.carriers import headers_of
from obskit.propagation.propagator import span_of
from obskit.runtime import runtime
from obskit.tracing.current import LIFE_KEY, SPAN_KEY, Life, attach, current_span, detach, get_context
from obskit.tracing.scope import ChildScope, SpanScope

Carrier = TypeVar("Carrier", MutableMapping[str, str], MutableMapping[Any, Any], list[tuple[Any, Any]])
Headers = Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None

ZipkinEncoding = Literal["json", "proto3"]
LogForm = Literal["json", "console", "cloud", "inherit", "off"]
Kind = Literal["server", "client", "producer", "consumer"]
ProfilerKind = Literal["auto", "google", "builtin", "off"]

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["continue_trace", "current_span", "flush", "init", "inject", "log_context", "shutdown", "span", "stats"]


def init(
    *,
    enabled: bool | None = None,
    service: str | None = None,
    version: str | None = None,
    environment: str | None = None,
    exporter: str | SpanExporter | Sequence[str | SpanExporter] | None = None,
    collector: str | None = None,
    zipkin_encoding: ZipkinEncoding | None = None,
    sample_rate: float | None = None,
    sample_rules: str | Sequence[Mapping[str, Any]] | None = None,
    sample_limit: int | None = None,
    inbound_limit: int | None = None,
    keep_errors: bool | None = None,
    keep_slow: float | None = None,
    backpressure: bool | None = None,
    exclude: Sequence[str] | None = None,
    trust_incoming: Literal["always", "never"] | Sequence[str] | None = None,
    propagation: Sequence[str] | None = None,
    propagate_to: Sequence[str] | None = None,
    logs: LogForm | None = None,
    mask_keys: Sequence[str] | None = None,
    request_log: bool | Literal["auto"] | None = None,
    integrations: Sequence[str] | None = None,
    disable: Sequence[str] | None = None,
    opentelemetry: Literal["auto", "off"] | None = None,
    project: str | None = None,
    queue_size: int | None = None,
    queue_bytes: int | None = None,
    batch_size: int | None = None,
    flush_interval: float | None = None,
    export_timeout: float | None = None,
    exit_timeout: float | None = None,
    response_flush: float | None = None,
    spool: str | PathLike[str] | None = None,
    spool_bytes: int | None = None,
    spool_age: float | None = None,
    spool_write_through: bool | None = None,
    profiler: ProfilerKind | None = None,
    profiler_output: str | PathLike[str] | None = None,
    profiler_hz: float | None = None,
    profiler_duration: float | None = None,
    profiler_interval: float | None = None,
    profiler_heap: bool | None = None,
) -> None:
    """Start observing this process.

    Each option left out comes from its ``OBSKIT_*`` variable, then from the ecosystem's (``OTEL_SERVICE_NAME`` and
    the like), then from its default. Called again with the same options it does nothing, with others it reconfigures;
    options left out then stay as they were given before (but ``enabled``), until ``shutdown()``. Starts no thread and
    touches no network.

    - ``enabled``: False switches everything off. Default: ``true``.
    - ``service``: The service's name. Default: the application's package, or the program's name.
    - ``version``: The service's version. Default: none.
    - ``environment``: Where it runs, such as ``prod``: a tag of each span. Default: none.
    - ``exporter``: Where spans go: a URL, an OpenTelemetry SpanExporter, or a list of them. Default:
      ``http://127.0.0.1:9411/api/v2/spans``.
    - ``collector``: An obskit collector for spans, log lines and profiles, such as ``http://127.0.0.1:9411``; spans go
      to an ``exporter`` that is given as well. Default: none.
    - ``zipkin_encoding``: How spans go to Zipkin over HTTP and Kafka: ``json``, or the smaller ``proto3``. Default:
      ``json``.
    - ``sample_rate``: The share of new traces that is recorded, 0 to 1. Default: ``1.0``.
    - ``sample_rules``: Other shares for some traces, by path, method and more: a list of mappings, or JSON. The first
      match decides. Default: none.
    - ``sample_limit``: How many new traces a second a process records at most. Default: none.
    - ``inbound_limit``: How many traces a second a process records at most because their callers ask for it. Default:
      none.
    - ``keep_errors``: Whether requests that fail are kept although their traces are not sampled. Default: ``false``.
    - ``keep_slow``: Requests that take at least this many seconds are kept although their traces are not sampled.
      Default: none.
    - ``backpressure``: Whether fewer new traces are recorded while the queue of spans fills up. Default: ``true``.
    - ``exclude``: Requests that are left out: paths, in which ``*`` stands for anything, and beginnings of user agents.
      Default: ``/healthz,/livez,/readyz,/grpc.health.v1.Health/*,kube-probe,GoogleHC``.
    - ``trust_incoming``: Whose trace headers count: ``always``, ``never``, or those of callers in networks such as
      ``10.0.0.0/8``. Default: ``always``.
    - ``propagation``: The formats that outbound calls carry, in order: ``b3multi``, ``b3``, ``w3c``. Default:
      ``b3multi``.
    - ``propagate_to``: The hosts to which requests carry the trace's headers, such as
      ``orders,*.internal,10.0.0.7:8080``; ``internal`` stands for loopback, private addresses, single-label and
      cluster-local names. Default: every host.
    - ``logs``: The form of log lines: ``json``, ``console``, ``cloud`` (Cloud Logging's API), ``inherit`` (yours,
      with trace fields) or ``off``. Default: ``console`` on a terminal, else ``json``.
    - ``mask_keys``: Log fields and tags whose names contain one of these are masked. Default: ``password``, ``token``
      and the like.
    - ``request_log``: Whether each request served is logged; ``auto`` means where the platform does not: on plain
      Kubernetes. Default: ``auto``.
    - ``integrations``: The libraries to instrument. Default: every known one that the program imports.
    - ``disable``: Libraries to leave alone. Default: none.
    - ``opentelemetry``: Whether the installed instrumentations of OpenTelemetry's for other libraries are switched on:
      ``auto`` or ``off``. Default: ``auto``.
    - ``project``: The Google Cloud project's id. Default: none.
    - ``queue_size``: How many spans may wait for delivery, for each exporter; later ones are dropped and counted.
      Default: ``10000``.
    - ``queue_bytes``: About how many bytes of spans may wait for delivery, for each exporter. Default: ``67108864``.
    - ``batch_size``: How many spans go out together at most. Default: ``1000``.
    - ``flush_interval``: Seconds a span waits for others to go out with. Default: ``0.5``.
    - ``export_timeout``: Seconds one attempt to deliver may take. Default: ``10.0``.
    - ``exit_timeout``: Seconds the program's end may wait for delivery. Default: ``2.0``, and ``5.0`` for ``cloud``
      logs, whose client alone takes up to two to import.
    - ``response_flush``: Seconds a response may wait, before it ends, for the delivery of its spans, where the CPU
      may stop after it. Default: ``0.3`` on Cloud Run and Cloud Functions, else ``0``.
    - ``spool``: The folder for spans that cannot be delivered now; without one they wait in memory only. Default:
      none.
    - ``spool_bytes``: How many bytes the spool of a destination may take; beyond, the oldest spans are dropped and
      counted. Default: ``100000000``.
    - ``spool_age``: Seconds after which spooled spans are dropped. Default: ``86400.0``.
    - ``spool_write_through``: Whether spans go to the spool before they are sent, so that they survive ``kill -9``.
      Default: ``false``.
    - ``profiler``: Which profiler runs: ``builtin``, ``google`` (its agent), ``off``, or ``auto``: ``builtin`` in
      Google Cloud and where ``profiler_output`` or ``collector`` is given. Default: ``auto``.
    - ``profiler_output``: The folder for profiles; without one, or a ``collector``, they go to Cloud Profiler.
      Default: none.
    - ``profiler_hz``: How many samples a second the profiler takes. Default: ``100.0``.
    - ``profiler_duration``: Seconds the profiler samples in each ``profiler_interval``. Default: ``10.0``.
    - ``profiler_interval``: Seconds from one profile to the next; not less than ``profiler_duration``, and where
      equal, it always samples. Default: ``60.0``.
    - ``profiler_heap``: Whether there are heap profiles, too; they slow the program down all the time. Default:
      ``false``.

    Raises ConfigurationError (a ValueError) naming option, value and remedy.
    """
    runtime.init({name: value for name, value in locals().items() if name in _OPTIONS})


_OPTIONS = frozenset(init.__kwdefaults__ or ())


_KINDS: dict[str, SpanKind] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


def span(name: str, *, kind: Kind | None = None, remote: str | None = None, **tags: Any) -> SpanScope:
    """Return a child span of the current one, as a context manager and a decorator.

    ``with obskit.span("charge", amount=7) as s: ...`` or ``@obskit.span("charge")`` above a function, a coroutine
    function or a generator. An exception that leaves the block is the span's ``error`` tag.

    ``kind`` says which side of a call the span is, ``remote`` the name of the service on the other (the tag
    ``peer.service``), so that a call which no integration covers is drawn between services, too. A ``kind`` that is
    none of the four is a tag.
    """
    known = _KINDS.get(kind, SpanKind.INTERNAL) if type(kind) is str else SpanKind.INTERNAL
    if kind is not None and known is SpanKind.INTERNAL:
        tags["kind"] = kind
    if remote is not None:
        tags["peer.service"] = remote
    return ChildScope(tracer, name, known, tags)


def _made_again(name: str, kind: SpanKind, tags: dict[str, Any]) -> ChildScope:
    return ChildScope(tracer, name, kind, tags)


# A tracer has locks, but decorated functions of ``__main__`` go to other processes as a whole.
copyreg.pickle(ChildScope, lambda scope: (_made_again, scope.made_of()))


def inject(headers: Carrier) -> Carrier:
    """Write the current trace into ``headers`` (a message's, say), for transports no integration covers; return it.

    A mapping or a list of pairs, with names and values in text or bytes. What it had of an older trace is replaced,
    however it was spelled; other headers, such as an ``x-request-id`` of your own, stay.
    """
    propagator.write_all(get_context(), headers_of(headers))
    return headers


@contextmanager
def continue_trace(headers: Headers) -> Iterator[None]:
    """Continue, for the length of the block, the trace that ``headers`` name: spans begun in it are its children.

    A mapping or pairs; names are read without regard to case, and both names and values may be bytes, as messages
    have them. Headers without a trace, or malformed ones, or None, begin a new trace.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    lower = {_text(name).lower(): _text(value) for name, value in pairs}
    outside = {key: value for key, value in get_context().items() if key not in (SPAN_KEY, *mesh.CARRIED)}
    context = propagator.extract(lower, Context(outside))
    life = Life(span_of(context), Context(outside))
    token = attach(Context({**context, LIFE_KEY: life}))
    try:
        yield
    finally:
        detach(token)
        life.ended = True


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else text(value)


def flush(timeout: float = 2.0) -> bool:
    """Deliver every span that has ended; return whether all were delivered within ``timeout`` seconds."""
    return runtime.flush(timeout)


def shutdown(timeout: float = 2.0, unpatch: bool = False) -> bool:
    """Deliver what is queued and stop; return whether it was done within ``timeout`` seconds.

    With ``unpatch`` every patched function is put back. ``init()`` starts again.
    """
    return runtime.shutdown(timeout, unpatch)


def stats() -> dict[str, Any]:
    """Return what became of this process's spans.

    ``sampled_out`` counts traces that their rate left out; ``sampling`` has the rates that apply, what limits left out
    (``limited``, by reason) and what was kept for its errors or slowness; ``failures`` counts our own errors;
    ``exporters`` has one entry for each destination, with ``produced``, ``delivered``, ``dropped`` (by reason),
    ``queued`` and the ``worker``'s state: produced = delivered + all dropped + queued. ``profiler`` has the profiler's
    state, where its profiles go, and how many were delivered or lost.
    """
    return runtime.stats()
