"""The public functions."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from os import PathLike
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.failures import failed
from obskit.instrumentation.tracer import propagator, tracer
from obskit.logs.context import log_context
from obskit.propagation import mesh
from obskit.propagation.carriers import headers_of, texts
from obskit.propagation.propagator import span_of
from obskit.runtime import runtime
from obskit.tracing.current import LIFE_KEY, SPAN_KEY, Life, attach, current_span, detach, get_context
from obskit.tracing.others import BAGGAGE_KEY, BROUGHT_KEY
from obskit.tracing.scope import ChildScope, SpanScope, name_of

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
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

    An option that is not given comes from its ``OBSKIT_*`` variable, else from a variable of another tool
    (``OTEL_SERVICE_NAME`` and the like), else from its default. Called again with the same options it does nothing,
    with others it reconfigures; options that are not given then keep their earlier values (except ``enabled``), until
    ``shutdown()``. Starts no thread and uses no network.

    - ``enabled``: False switches everything off. Default: ``true``.
    - ``service``: The service's name. Default: the application's package, or the program's name.
    - ``version``: The service's version. Default: none.
    - ``environment``: The deployment environment, such as ``prod``: a tag of each span. Default: none.
    - ``exporter``: Where spans go: a URL, an OpenTelemetry SpanExporter, or a list of them. Default:
      ``http://127.0.0.1:9411/api/v2/spans``.
    - ``collector``: An obskit collector for spans, log lines and profiles, such as ``http://127.0.0.1:9411``; with an
      ``exporter``, spans go to both. Default: none.
    - ``zipkin_encoding``: The encoding of spans for Zipkin over HTTP and Kafka: ``json``, or the smaller ``proto3``.
      Default: ``json``.
    - ``sample_rate``: The share of new traces that is recorded, 0 to 1. Default: ``1.0``.
    - ``sample_rules``: Other rates for some traces, by path, method and more: a list of mappings, or JSON. The first
      match decides. Default: none.
    - ``sample_limit``: The maximum of new traces a second that a process records. Default: none.
    - ``inbound_limit``: The maximum of traces a second that a process records on a caller's request. Default: none.
    - ``keep_errors``: Whether failed requests are kept even if their traces are not sampled. Default: ``false``.
    - ``keep_slow``: Keep requests that take at least this many seconds, even if their traces are not sampled. Default:
      none.
    - ``backpressure``: Whether to record fewer new traces while the queue of spans fills up. Default: ``true``.
    - ``exclude``: Requests that are not traced: paths, in which ``*`` matches anything, and prefixes of user agents.
      Default: ``/healthz,/livez,/readyz,/grpc.health.v1.Health/*,kube-probe,GoogleHC,Prometheus/``.
    - ``trust_incoming``: Whose trace headers are used: ``always``, ``never``, or callers in networks such as
      ``10.0.0.0/8``. Default: ``always``.
    - ``propagation``: The header formats of outbound calls, in order: ``b3multi``, ``b3``, ``w3c``. Default:
      ``b3multi``.
    - ``propagate_to``: The hosts that receive trace headers, such as ``orders,*.internal,10.0.0.7:8080``; ``internal``
      stands for loopback, private addresses, single-label and cluster-local names. Default: every host.
    - ``logs``: The format of log lines: ``json``, ``console``, ``cloud`` (Cloud Logging's API), ``inherit`` (yours,
      with trace fields) or ``off``. Default: ``console`` on a terminal, else ``json``.
    - ``mask_keys``: Log fields and tags whose names contain one of these are masked. Default: ``password``, ``token``
      and the like.
    - ``request_log``: Whether each served request is logged; ``auto``: only if the platform does not, as on plain
      Kubernetes. Default: ``auto``.
    - ``integrations``: The libraries to instrument. Default: every known one that the program imports.
    - ``disable``: Libraries to leave alone. Default: none.
    - ``opentelemetry``: Whether installed OpenTelemetry instrumentations for other libraries are switched on: ``auto``
      or ``off``. Default: ``auto``.
    - ``project``: The Google Cloud project's id. Default: none.
    - ``queue_size``: The maximum of spans that wait for delivery, for each exporter; further ones are dropped and
      counted. Default: ``10000``.
    - ``queue_bytes``: The approximate maximum of bytes of spans that wait for delivery, for each exporter. Default:
      ``67108864``.
    - ``batch_size``: The maximum of spans in a batch. Default: ``1000``.
    - ``flush_interval``: Seconds that a span waits for others to form a batch. Default: ``0.5``.
    - ``export_timeout``: Seconds that one attempt to deliver may take. Default: ``10.0``.
    - ``exit_timeout``: Seconds that the end of the program may wait for delivery. Default: ``2.0``; ``5.0`` for
      ``cloud`` logs, whose client takes up to 2 s to import.
    - ``response_flush``: Seconds that a response may wait for the delivery of its spans, on platforms that may stop the
      CPU after it. Default: ``0.3`` on Cloud Run, Cloud Functions and AWS Lambda, else ``0``.
    - ``spool``: The folder for spans that cannot be delivered now; without it they wait in memory only. Default: none.
    - ``spool_bytes``: The maximum size of a destination's spool in bytes; beyond it, the oldest spans are dropped and
      counted. Default: ``100000000``.
    - ``spool_age``: Seconds after which spooled spans are dropped. Default: ``86400.0``.
    - ``spool_write_through``: Whether spans are written to the spool before they are sent, so that they survive ``kill
      -9``. Default: ``false``.
    - ``profiler``: The profiler: ``builtin``, ``google`` (its agent), ``off``, or ``auto``: ``builtin`` in Google Cloud
      or with ``profiler_output`` or ``collector``. Default: ``auto``.
    - ``profiler_output``: The folder for profiles; without it and without ``collector`` they go to Cloud Profiler.
      Default: none.
    - ``profiler_hz``: The profiler's samples a second. Default: ``100.0``.
    - ``profiler_duration``: Seconds that the profiler samples in each ``profiler_interval``. Default: ``10.0``.
    - ``profiler_interval``: Seconds from one profile to the next, at least ``profiler_duration``; if equal, it always
      samples. Default: ``60.0``.
    - ``profiler_heap``: Whether to take heap profiles, too; these slow the program down all the time. Default:
      ``false``.

    Raises ConfigurationError (a ValueError) naming option, value and remedy.
    """
    runtime.init({name: value for name, value in locals().items() if name in _OPTIONS})


_OPTIONS = frozenset(init.__kwdefaults__ or ())


_INTERNAL = SpanKind.INTERNAL
_KINDS: dict[str, SpanKind] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


@overload
def span(name: str, *, kind: Kind | None = None, remote: str | None = None, **tags: Any) -> SpanScope: ...
@overload
def span(name: Decorated) -> Decorated: ...
def span(name: Any, *, kind: Kind | None = None, remote: str | None = None, **tags: Any) -> Any:
    """Return a child span of the current one, as a context manager and a decorator.

    ``with obskit.span("charge", amount=7) as s: ...`` or ``@obskit.span("charge")`` above a function, a coroutine
    function or a generator; ``@obskit.span`` has its name. An exception that leaves the block becomes the span's
    ``error`` tag.

    ``kind`` is the side of a call that the span is, ``remote`` the name of the service on the other side (the tag
    ``peer.service``), so that a call without an integration links the two services, too. A ``kind`` other than the
    four is a tag.
    """
    if type(name) is not str and _is_decorated(name):
        return ChildScope(tracer, name_of(name), _INTERNAL, tags)(name)
    known = _INTERNAL
    if kind is not None:
        known = _KINDS.get(kind, _INTERNAL) if type(kind) is str else _INTERNAL
        if known is _INTERNAL:
            tags["kind"] = kind
    if remote is not None:
        tags["peer.service"] = remote
    return ChildScope(tracer, name, known, tags)


_DECORATED = (FunctionType, MethodType, classmethod, staticmethod, property, cached_property, type(lru_cache(name_of)))


def _is_decorated(name: Any) -> bool:
    """Return whether ``name`` is a function below ``@obskit.span``; a class, a lambda or an object is taken as text."""
    return issubclass(type(name), _DECORATED) and getattr(name, "__name__", None) != "<lambda>"


def _made_again(name: str, kind: SpanKind, tags: dict[str, Any]) -> ChildScope:
    return ChildScope(tracer, name, kind, tags)


# A tracer has locks, but decorated functions of ``__main__`` go to other processes as a whole.
copyreg.pickle(ChildScope, lambda scope: (_made_again, scope.made_of()))


def inject(headers: Carrier) -> Carrier:
    """Write the current trace into ``headers``, for transports without an integration; return ``headers``.

    They are a mapping or a list of pairs, with names and values in text or bytes. Headers of an older trace are
    replaced, in any spelling; others, such as an ``x-request-id`` of your own, are kept.
    """
    try:
        propagator.write_all(get_context(), headers_of(headers))
    except Exception:
        failed(f"writing trace headers into a {type(headers).__name__}")
    return headers


@contextmanager
def continue_trace(headers: Headers) -> Iterator[None]:
    """Continue the trace in ``headers`` for the length of the block: spans started in it belong to that trace.

    They are a mapping or pairs; names are compared without regard to case, and names and values may be bytes, as in
    messages. Without a trace, with malformed headers, or None, a new trace starts.
    """
    outside = {key: value for key, value in get_context().items() if key not in (SPAN_KEY, *mesh.CARRIED)}
    context = propagator.extract(_read(headers), Context(outside))
    life = Life(span_of(context), Context(outside))
    token = attach(Context({**context, BROUGHT_KEY: context.get(BAGGAGE_KEY) or {}, LIFE_KEY: life}))
    try:
        yield
    finally:
        detach(token)
        life.ended = True


def _read(headers: Any) -> dict[str, str]:
    try:
        return texts(headers)
    except Exception:
        failed(f"reading trace headers from a {type(headers).__name__}")
        return {}


def flush(timeout: float = 2.0) -> bool:
    """Deliver all ended spans; return whether all were delivered within ``timeout`` seconds."""
    return runtime.flush(timeout)


def shutdown(timeout: float = 2.0, unpatch: bool = False) -> bool:
    """Deliver the queue and stop; return whether that was done within ``timeout`` seconds.

    With ``unpatch`` every patched function is restored. ``init()`` starts again.
    """
    return runtime.shutdown(timeout, unpatch)


def stats() -> dict[str, Any]:
    """Return the counters of this process.

    ``sampled_out`` counts traces that were not sampled by their rate; ``sampling`` has the current rates, the traces
    refused by limits (``limited``, by reason) and those kept because they failed or were slow; ``failures`` counts
    obskit's own errors;
    ``exporters`` has one entry for each destination, with ``produced``, ``delivered``, ``dropped`` (by reason),
    ``queued`` and the ``worker``'s state: produced = delivered + all dropped + queued. ``profiler`` has the profiler's
    state, where its profiles go, and how many were delivered or lost.
    """
    return runtime.stats()
