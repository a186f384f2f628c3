"""The client side of one HTTP exchange: one hop, whatever the library.

Which hosts are told of our traces.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterable
from contextvars import Token
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.failures import failed
from obskit.base.patterns import pattern
from obskit.base.values import error_text
from obskit.instrumentation.http_tags import METHODS, SUCCESSES, safe_url, tag_response, tag_url, url_text
from obskit.instrumentation.tracer import propagator, tracer
from obskit.propagation import mesh
from obskit.propagation.carriers import Entries, Headers, lower_case, take_out
from obskit.propagation.headers import TRACE_NAMES
from obskit.tracing.current import (
    LIFE_KEY,
    SPAN_KEY,
    SUPPRESS_KEY,
    AnySpan,
    Life,
    attach,
    living,
    reset,
    stored_context,
)
from obskit.tracing.others import BAGGAGE_KEY
from obskit.tracing.span import Span

_PORTS = {"http": "80", "https": "443"}
_PORT = pattern(r":\d+$")
_WITH_BACKSLASH = pattern(r"(?:[^/?#]*://)?[^/?#]*\\")
_LONGEST_HOST = 255  # RFC 1035, 2.3.4; a pattern with several ``*`` takes more than linear time
HOST = pattern(r"\[[0-9a-fA-F:.*]+\](:\d+)?|[^\s/:@?#\[\]]+(:\d+)?")
"""A host: a name, an address or a pattern with ``*`` such as ``*.internal``; a port may follow."""


class Hosts:
    """Hosts, as HOST has them. One without a port stands for all of its ports, ``internal`` for all that are inside."""

    def __init__(self, hosts: Iterable[str]) -> None:
        hosts = tuple(hosts)
        self._is_internal: Callable[[str], bool] = lambda _: False
        if "internal" in map(str.lower, hosts):
            # Here, since its pattern takes a millisecond to compile, which other programs' start should not take.
            from obskit.instrumentation.internal_hosts import is_internal

            self._is_internal = is_internal
        self._match = re.compile("|".join(map(_pattern, hosts)) or "(?!)", re.IGNORECASE).fullmatch

    def include(self, url: str) -> bool:
        """Return whether ``url`` leads to one of them; a malformed one does not.

        Nor does one with a backslash before its path, where clients do not agree on which part is the host.
        """
        if _WITH_BACKSLASH.match(url):
            return False
        host = safe_url(url)[1]
        port = _PORT.search(host)
        host = host[: port.start()] if port else host.rstrip(":")
        number = port[0][1:] if port else _PORTS.get(url.partition(":")[0].lower(), "")
        host = host.rstrip(".")
        if len(host) > _LONGEST_HOST:
            return False
        return self._match(f"{host}:{number}") is not None or self._is_internal(host)


def _pattern(target: str) -> str:
    port = _PORT.search(target)
    host = target[: port.start()] if port else target
    return re.escape(host.rstrip(".")).replace(r"\*", ".*") + (port[0] if port else r":\d*")


hosts: Hosts | None = None
"""Those that are told of our traces; None: all. To be asked as ``client.hosts``, since configuring replaces it."""


def propagate_to(chosen: Hosts | None) -> None:
    """Send trace headers only to those that are ``chosen``; None: to all."""
    global hosts  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    hosts = chosen


class Call(Life):
    """A library's call that has a span: until it returns."""

    __slots__ = ()


_new_call = Call.__new__  # CPython calls no ``__init__`` as cheaply


class ClientExchange:
    """One outbound request, from its first byte until its response's body is over.

    Integrations set ``status`` when they learn it. One that is never finished ends when its last reference goes.
    ``context`` is the one that the request is made in.
    """

    __slots__ = ("_call", "_sent", "_suspicion", "context", "over", "span", "status")
    span: AnySpan
    context: Context
    status: int
    over: bool
    _suspicion: str  # these three have no value for most
    _call: Call
    _sent: tuple[Any, Any]

    def suspect(self, error: BaseException) -> None:
        """Note an error that counts only if no response follows.

        Kept as text: the exception would keep its frames alive, and through them the connection and its socket.
        """
        self._suspicion = error_text(error)

    def enter(self) -> Token[Context]:
        """Make the span current; the caller hands the token to ``leave`` before the library's call returns.

        Meanwhile libraries below (urllib3 under requests) see that their call has a span already.
        """
        span, context = self.span, self.context
        self._call = call = _new_call(Call)
        call.span = span
        call.outside = context
        call.ended = False
        return attach(Context({**context, SPAN_KEY: span, LIFE_KEY: call}))

    def leave(self, token: Token[Context]) -> None:
        """Undo ``enter``, also for the tasks and threads that the library started meanwhile and that live on."""
        self._call.ended = True
        try:
            reset(token)
        except ValueError:  # in another execution context there is nothing to undo
            return

    def inject(self, headers: Headers) -> None:
        """Write the trace's headers over older ones, and the mesh's that the caller did not set. Never raises."""
        try:
            context = self.context
            if (
                isinstance(headers, Entries)
                and not (context and (mesh.MESH_KEY in context or BAGGAGE_KEY in context))
                and not headers.have_any(TRACE_NAMES)
            ):
                headers.add(propagator.fields_of(self.span))
            else:
                propagator.write(self.span, mesh.of(context), headers)
        except Exception:
            failed("writing trace headers")

    def send_copy(self, args: list[Any], kwargs: dict[str, Any], headers: Any, view: Headers) -> None:
        """Replace the request object among a call's arguments by a copy that has ``headers`` and the trace's.

        The program's own stays as it is: it may be kept, and sent again while another request is being served.
        ``view`` shows ``headers`` as what takes ours.
        """
        request = args[0] if args else kwargs["request"]
        copy = copied(request)
        copy.headers = headers
        self.inject(view)
        self._sent = copy, request
        if args:
            args[0] = copy
        else:
            kwargs["request"] = copy

    def give_back(self, holder: Any) -> None:
        """Let a response or an exception name the program's own request where it names our copy. Never raises."""
        try:
            sent, own = self._sent
            del self._sent
            if holder.request is sent:
                holder.request = own
        except Exception:  # httpx's have none, perhaps, and say so by an exception
            return

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, once. Never raises."""
        if self.over:
            return
        if error is not None:
            self.give_back(error)
        self.over = True
        span = self.span
        if type(span) is Span:
            status = self.status
            try:
                if error is None and status in SUCCESSES:
                    span.tags["http.status_code"] = SUCCESSES[status]
                else:
                    suspicion = None if status else getattr(self, "_suspicion", None)
                    tag_response(span, status, suspicion if error is None else error)
            except Exception:
                failed("describing a response")
            span.end()

    def abandon(self) -> None:
        """End the span of a response that is still being read as the process ends."""
        if type(self.span) is Span:
            self.span.annotate("the process ended amid the response")
        self.finish()

    def __del__(self) -> None:
        if not self.over:
            self.finish()


def copied(request: Any) -> Any:
    """Return a copy of a library's object: ``copy.copy`` asks it first how it wants to be copied.

    The copy is filled, as one with another ``__dict__`` has slower attributes for the rest of its life.
    """
    copy = object.__new__(type(request))
    copy.__dict__.update(request.__dict__)
    return copy


class UntoldExchange(ClientExchange):
    """One outbound request to a host that is not to know of our trace."""

    __slots__ = ()

    def inject(self, headers: Headers) -> None:
        """Take out what a redirecting client copied from the request before, to a host that may know. Never raises."""
        try:
            _withdraw(headers, self.context)
        except Exception:
            failed("taking out trace headers")


_NAMES = {method: method for method in METHODS}  # http.HTTPMethod is a str of another type
_CLIENT = SpanKind.CLIENT  # a global is looked up in a fifth of the time of an enumeration's member
_KINDS = (ClientExchange, UntoldExchange)
_LARGE_HEAP = 3_000_000  # blocks: to look through them takes a tenth of a second
_traced_any = False


def begin(method: str, url: object, headers: Headers | None) -> ClientExchange | None:
    """Start an outbound request, without making its span current, and write its trace headers to ``headers``.

    ``url`` is its Parts, or anything whose text it is, which is rendered only if the request is recorded. Returns None
    where tracing is suppressed and where an outer layer of the same call (requests above urllib3) has a span already.
    """
    global _traced_any  # noqa: PLW0603 - so that the end of a program which calls nobody looks for nothing
    context = stored_context()
    parent = None
    if context:
        if LIFE_KEY in context:
            context = living(context)
            if _is_within_a_call(context):
                return None
        if context.get(SUPPRESS_KEY):
            return None
        parent = context.get(SPAN_KEY)
    name = _NAMES.get(method)
    if name is None:
        span = tracer.start("HTTP", _CLIENT, parent, {"http.method": str(method)})
    else:
        span = tracer.start(name, _CLIENT, parent, {"http.method": name})
    if type(span) is Span:
        try:
            tag_url(span, url)
        except Exception:
            failed("reading a URL")
    _traced_any = True
    exchange = ClientExchange() if hosts is None or may_know(url) else UntoldExchange()
    exchange.span = span
    exchange.context = context
    exchange.status = 0
    exchange.over = False
    if headers is not None:
        exchange.inject(headers)
    return exchange


def abandon_calls() -> None:
    """End the spans of calls whose responses are still being read, as the process ends.

    They are looked for among all objects, since a list of them would cost each call; in a large heap, where that takes
    long, among the newest. Exceptions that nobody caught still hold theirs.
    """
    if not _traced_any:
        return
    for generation in (None,) if sys.getallocatedblocks() < _LARGE_HEAP else (0, 1):
        for one in [each for each in gc.get_objects(generation) if type(each) in _KINDS]:
            if not getattr(one, "over", True):  # another thread may be making it
                one.abandon()


def _is_within_a_call(context: Context) -> bool:
    life = context.get(LIFE_KEY)
    return type(life) is Call and life.span is context.get(SPAN_KEY) and not life.ended


def may_know(url: object) -> bool:
    """Return whether the host that ``url`` leads to is to know of our trace."""
    try:
        return hosts is None or hosts.include(url_text(url))
    except Exception:
        failed("reading a URL")
        return False


def _withdraw(headers: Headers, context: Context) -> None:
    """Take out any trace's headers, and the mesh's as far as the caller did not set others."""
    left = take_out(headers, TRACE_NAMES)
    copied = {name: value for name, value in mesh.of(context).items() if name in left}
    if copied:
        take_out(headers, frozenset(lower_case(name) for name in headers if _is_copied(headers, name, copied)))


def _is_copied(headers: Headers, name: object, copied: dict[str, str]) -> bool:
    return headers[name] == copied.get(lower_case(name))
