"""Beginning to serve a request, whatever the framework: its headers are read, and what becomes of its trace decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.values import encodable
from obskit.instrumentation import exclusions, server_exchange, trust
from obskit.instrumentation.current_exchange import EXCHANGE_KEY, is_of_same_request
from obskit.instrumentation.http_tags import LONGEST_PATH, METHODS, Remote, path_tag, span_name
from obskit.instrumentation.server_exchange import Seen, ServerExchange
from obskit.instrumentation.tracer import tracer
from obskit.propagation import mesh
from obskit.propagation.b3 import extract_multi
from obskit.propagation.headers import HeaderNames
from obskit.propagation.propagator import read
from obskit.tracing.current import LIFE_KEY, SPAN_KEY, SUPPRESS_KEY, AnySpan, living, stored_context
from obskit.tracing.others import BAGGAGE_KEY, BROUGHT_KEY, added_baggage, with_others
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.span import Span
from obskit.tracing.tracer import Tags

_LONGEST_NAME = 128
_SERVER = SpanKind.SERVER  # a global is looked up in a fifth of the time of an enumeration's member

_latest: ContextVar[ServerExchange] = ContextVar("obskit-latest-exchange")
_set_latest = _latest.set
_keeps_latest = False
_watch_all = False


def watch_all(wanted: bool) -> None:
    """Determine the route of every request, recorded or not, as the profiler needs it."""
    global _watch_all  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    _watch_all = wanted


def keep_latest() -> None:
    """Have ``latest_exchange`` know each request from now on: a fiftieth of what a request costs, for logs alone."""
    global _keeps_latest  # noqa: PLW0603 - chosen when configuring, as above
    _keeps_latest = True


def latest_exchange() -> ServerExchange | None:
    """Return the exchange that this thread or task began last, over or not, for what its server logs after it.

    Known since ``keep_latest``.
    """
    return _latest.get(None)


def begin(
    headers: Mapping[str, str],
    names: HeaderNames,
    method: str,
    path: str,
    remote: Remote | None,
    find_remote: Callable[[Any], Remote | None] | None = None,
) -> ServerExchange | None:
    """Start serving a request: read its headers, decide, and only then build. None where tracing is suppressed.

    ``remote`` is the caller's address and port as the server knows it. Where it takes time to read, ``find_remote``
    does so, from ``headers``, if it is wanted.
    """
    context = stored_context()
    if context and (context := living(context)).get(SUPPRESS_KEY):
        return None
    rare, remote_parent, meshed = False, None, None
    if trust.everybody or trust.trusted(remote if find_remote is None else find_remote(headers)):
        rare = not headers.keys().isdisjoint(names.rare)  # as ``read`` begins, which most requests do not need
        remote_parent, meshed = read(headers, names) if rare else (extract_multi(headers.get, names), None)
    parent: object = remote_parent
    if context:  # most requests begin in an empty one
        parent, context = _begun_in(context, remote_parent)
    agent = headers.get(names.user_agent)
    unseen = exclusions.unseen(parent) if exclusions.is_excluded(path, agent) else None
    span: AnySpan
    name = ""
    watched = _watch_all
    if unseen is not None:
        span = unseen
    elif type(parent) is PropagatedSpan and parent.sampled is False and tracer.passes_on(parent):
        span = parent
    else:
        name = _given_name(headers, names, method) if rare else method if method in METHODS else "HTTP"
        odd = ";" in path or not path or len(path) > LONGEST_PATH or type(path) is not str
        tags: Tags = {"http.method": str(method), "http.path": path_tag(path) if odd else path}
        span = tracer.start(name, _SERVER, parent, tags)
        if type(span) is Span:
            span.remote_endpoint = remote = remote if find_remote is None else find_remote(headers)
            find_remote = None
            watched = True
    exchange = ServerExchange(span, method, path, name, context, watched)
    if _keeps_latest:
        _set_latest(exchange)
    if server_exchange.finished is not None or server_exchange.held is not None:
        remote = remote if find_remote is None else find_remote(headers)
        _watch(exchange, None if unseen is not None else Seen(remote[0] if remote else None, agent, perf_counter()))
    values: dict[str, Any] = {SPAN_KEY: span, EXCHANGE_KEY: exchange, LIFE_KEY: exchange}
    if context:
        values = {**context, **values}
    if meshed is not None:
        mesh.bring(values, meshed)
    exchange.context = Context(values)
    return exchange


def _given_name(headers: Mapping[str, str], names: HeaderNames, method: str) -> str:
    """Return the name that the caller gives the span, as Sleuth's first versions did, or the usual one."""
    given = headers.get(names.span_name)
    return encodable(given[:_LONGEST_NAME]) if given else span_name(method)


def _watch(exchange: ServerExchange, seen: Seen | None) -> None:
    """Have the request log know of the request what it has ``seen``, and the response wait where one does."""
    if server_exchange.finished is not None and seen is not None:
        exchange.seen = seen
        exchange.watched = exchange.measured = True
    if server_exchange.held is not None and server_exchange.held(exchange.span):
        exchange.prompt = exchange.watched = exchange.measured = True


def _begun_in(context: Context, remote_parent: PropagatedSpan | None) -> tuple[object, Context]:
    """Return the parent of a request that begins in a context which is not empty, and what of that concerns it."""
    if is_of_same_request(context, remote_parent):
        return context[SPAN_KEY], context
    return remote_parent, outside(context)


def outside(context: Context) -> Context:
    """Return what of the current context is no other message's: log fields of a server's main program, for example.

    Also what others have put there, such as a middleware around the application.
    """
    life: Any = context.get(LIFE_KEY)
    while life is not None:
        context = with_others(life.outside, context)
        life = context.get(LIFE_KEY)
    if SPAN_KEY in context or mesh.MESH_KEY in context or BROUGHT_KEY in context:
        values = {key: value for key, value in context.items() if key not in (SPAN_KEY, *mesh.CARRIED)}
        baggage = added_baggage(context)
        return Context({**values, BAGGAGE_KEY: baggage} if baggage else values)
    return context
