"""Which request is being served here: by the current context, and for layers that see one request again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.instrumentation import trust
from obskit.instrumentation.http_tags import Remote
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.propagation.headers import HeaderNames
from obskit.propagation.propagator import read
from obskit.tracing.current import LIFE_KEY, SPAN_KEY, get_context, living, stored_context
from obskit.tracing.others import own_key
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.span import Span

EXCHANGE_KEY = own_key("obskit-server-exchange")


def current_exchange() -> ServerExchange | None:
    """Return the exchange that is being served here, for hooks which a framework calls without one."""
    return exchange_of(get_context())


def exchange_of(context: Mapping[str, Any]) -> ServerExchange | None:
    """Return the exchange that is being served where ``context`` is the current one."""
    found = exchange_behind(context)
    return found if found is not None and not found.ended else None


def exchange_behind(context: Mapping[str, Any]) -> ServerExchange | None:
    """Return the exchange that ``context`` came from, be it over or not."""
    return context.get(EXCHANGE_KEY)


def is_within_another(context: Mapping[str, object]) -> bool:
    """Return whether a request that begins in a stored context may be part of one that is being served.

    One that begins in what a request has left, which is over, is told apart without reading its headers.
    """
    life: Any = context.get(LIFE_KEY)
    return life is not None and (not life.ended or bool(life.outside))


def exchange_around(
    headers: Mapping[str, str], names: HeaderNames, method: str, path: str, remote: Remote | None
) -> ServerExchange | None:
    """Return an outer layer's exchange for this request, whose environ or scope an adapter has made anew.

    None where the current exchange is of a request that this one is not: other headers, method or path.
    """
    context = living(stored_context())
    outer = exchange_of(context)
    if outer is None or outer.mark is None or outer.method != method or (outer.path or "/") != (path or "/"):
        return None
    known = trust.everybody or trust.trusted(remote)
    return outer if is_of_same_request(context, read(headers, names)[0] if known else None) else None


def is_of_same_request(context: Context, remote_parent: PropagatedSpan | None) -> bool:
    """Return whether the current span is an outer layer's for the request that begins here.

    It is another request's where that one is over, or came with other headers: servers begin a request in the context
    of whatever the connection's task or thread did before.
    """
    exchange = exchange_of(context)
    outer = context.get(SPAN_KEY) if exchange is None else exchange.span
    if exchange is not None:
        still_open = not exchange.over
    else:  # OpenTelemetry's middleware has one, perhaps
        still_open = type(outer) is Span and outer.kind is SpanKind.SERVER and outer.end_ns is None
    if not still_open or remote_parent is None or remote_parent.trace_id is None:
        return still_open
    if type(outer) is Span:
        return (outer.trace_id, outer.parent_id) == (remote_parent.trace_id, remote_parent.span_id)
    return isinstance(outer, PropagatedSpan) and outer.trace_id == remote_parent.trace_id
