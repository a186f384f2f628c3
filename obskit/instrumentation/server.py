"""The server side of one HTTP exchange, whatever the framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from time import perf_counter, time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base import told_running
from obskit.base.failures import failed
from obskit.base.process import on_fork
from obskit.base.records import NamedTuple
from obskit.base.values import encodable, error_text
from obskit.instrumentation import exclusions, trust
from obskit.instrumentation.http_tags import LONGEST_PATH, METHODS, Remote, path_tag, route_name, tag_response
from obskit.instrumentation.tracer import tracer
from obskit.propagation import mesh
from obskit.propagation.headers import HeaderNames
from obskit.propagation.propagator import read
from obskit.tracing.current import (
    LIFE_KEY,
    SPAN_KEY,
    SUPPRESS_KEY,
    AnySpan,
    attach,
    detach,
    get_context,
    living,
    stored_context,
)
from obskit.tracing.ids import new_span_id
from obskit.tracing.others import BAGGAGE_KEY, BROUGHT_KEY, added_baggage, own_key, with_others
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.span import Span
from obskit.tracing.tracer import Tags

EXCHANGE = "obskit.exchange"
"""Where a WSGI environ or an ASGI scope names its exchange, so that layers of one server make one span.

By plain text, because applications copy, pickle and dump what a request brought.
"""

_serving: dict[str, ServerExchange] = {}
"""The exchanges that are under way, by what ``EXCHANGE`` says."""

_began_here = 0
"""Since when, in epoch nanoseconds, the exchanges in it are this process's, not of one that it forked from."""

_latest: ContextVar[ServerExchange] = ContextVar("obskit-latest-exchange")
_set_latest = _latest.set
_keeps_latest = False

FORGOTTEN = "the response was forgotten before its end"

_EXCHANGE_KEY = own_key("obskit-server-exchange")
_LONGEST_NAME = 128
_CANCELLATIONS = frozenset(["CancelledError", "Cancelled", "GeneratorExit", "RequestCancelled"])  # asyncio, trio, Sanic
_GROUPS = frozenset(["ExceptionGroup", "BaseExceptionGroup"])  # not a type before Python 3.11
_LONGEST_RESPONSE = 3600 * 10**9  # no request to Cloud Run may take longer
_BETWEEN_LOOKS = 60 * 10**9
SERVER_ERROR = 500
_SERVER = SpanKind.SERVER  # a global is looked up in a fifth of the time of an enumeration's member


class Seen(NamedTuple):
    """What a request log wants to know of a request besides its span."""

    remote_ip: str | None
    user_agent: str | None
    began: float


OnFinish = Callable[["ServerExchange"], object]
_on_finish: OnFinish | None = None
_watch_all = False
_held: Callable[[AnySpan], bool] | None = None
_deliver: Callable[[], object] | None = None


def on_finish(call: OnFinish | None) -> None:
    """Call ``call`` after each response, whether its request is recorded or not; None removes it."""
    global _on_finish  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    _on_finish = call


def watch_all(wanted: bool) -> None:
    """Determine the route of every request, recorded or not, as the profiler needs it."""
    global _watch_all  # noqa: PLW0603 - chosen when configuring, as above
    _watch_all = wanted


def keep_latest() -> None:
    """Have ``latest_exchange`` know each request from now on: a fiftieth of what a request costs, for logs alone."""
    global _keeps_latest  # noqa: PLW0603 - chosen when configuring, as above
    _keeps_latest = True


def hold_responses(wanted: Callable[[AnySpan], bool] | None, deliver: Callable[[], object] | None) -> None:
    """Have a response wait while ``deliver`` runs, where ``wanted`` says so of its span; None: no response waits."""
    global _held, _deliver
    _held, _deliver = wanted, deliver


class ServerExchange:
    """One request being served, from the reading of its headers until its response is over.

    Frameworks set ``status`` and ``route`` (the pattern; empty where none matched) as they learn them, and call
    ``blame``, which sets ``error``. ``failure`` is the ``id`` of the exception that left the application.
    ``sent`` says whether the client has got the status already, ``prompt`` whether the response waits until its span
    has left, ``watched`` whether anybody asks for its status and route.
    ``mounted`` is the path below which another application serves the request, whose layer may know more of its route.
    """

    # Without slots: CPython makes an instance of such a class in three quarters of the time. Class attributes are for
    # what few requests ask for: where instances have the attribute, too, CPython looks it up four times as long.
    failure = 0
    sent = False
    prompt = False
    size: int | None = None

    def __init__(self, span: AnySpan, method: str, path: str, name: str, outside: Context, watched: bool) -> None:
        self.span = span
        self.method = method
        self.path = path
        self.name = name
        self.route: str | None = None
        self.status = 0
        self.error: str | None = None
        self.over = False
        self.mark: str | None = None
        self.mounted: str | None = None
        self.outside = outside
        self.ended = False
        self.watched = watched
        self.seen: Seen | None = None
        self.context: Context
        self._token: Token[Context]

    def named_in(self, request: MutableMapping[str, Any]) -> None:
        """Have ``exchange_in`` find this exchange by an environ or a scope, or by a copy of it."""
        span = self.span  # a copy may be read in another process: no span of there has this id
        self.mark = request[EXCHANGE] = mark = span.span_id if type(span) is Span else new_span_id()
        _serving[mark] = self

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the span current for a block, and end it where the block raises."""
        token = attach(self.context)
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            detach(token)
            if self.over:
                self.leave()

    def __enter__(self) -> None:
        """Serve the request in a block: the span is current there, and over with it."""
        self._token = attach(self.context)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        detach(self._token)
        if error is None:
            self.finish()
        else:
            self.fail(error)
        self.leave()

    def leave(self) -> None:
        """Take back what the request brought from the threads and tasks that it started and that live on.

        Not before the application is done: it may go on after its response (background tasks, ``close`` of a body).
        """
        self.ended = True
        self.context = self.outside  # the other one holds this: a cycle, which a garbage collection would have to find

    def blame(self, error: BaseException | None) -> None:
        """Note the exception that an error page is the answer to; None where there is none.

        Kept as text: a traceback holds the frames of all callers, whose variables hold the response. Together with
        ``_streams`` it would keep a response that nobody closes, whose being forgotten is to end the span.
        """
        if error is not None and type(self.span) is Span:
            self.error = error_text(error)

    def fail(self, error: BaseException) -> None:
        """End the span of a request that ``error`` broke off.

        Servers answer 500 where the status is not on its way yet, whatever it was to be; but where the task was
        cancelled, which is no failure, the client is gone or the server stops.
        """
        self.failure = id(error)
        if not issubclass(type(error), Exception) and type(error).__name__ in _CANCELLATIONS:
            if type(self.span) is Span:
                self.span.annotate("cancelled before the end of the response")
            self.finish()
            return
        if not self.sent:
            self.status = SERVER_ERROR
        self.finish(error)

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, once. Never raises."""
        if self.over:
            return
        self.over = True
        mark = self.mark
        if mark is not None:
            _serving.pop(mark, None)
        span = self.span
        if type(span) is Span:
            if _streams:
                _streams.discard(self)
            try:
                try:
                    self._describe(span, self.error if error is None else error)
                finally:
                    span.end()
            except Exception:
                failed("ending a server span")
        if self.seen is not None and _on_finish is not None:
            try:
                _on_finish(self)
            except Exception:
                failed("logging a request")

    def complete(self) -> None:
        """End the span of a response that nobody has to follow, take back what the request brought, and deliver."""
        self.finish()
        self.ended = True  # ``leave`` written out, as every request does this
        self.context = self.outside
        if self.prompt:
            self.deliver()

    def deliver(self) -> None:
        """Deliver what has ended, on this thread, where the response waits for that and is over. Never raises."""
        if self.prompt and self.over and _deliver is not None:
            _deliver()

    def abandon(self, why: str) -> None:
        """End the span of a response that nobody ended.

        It is not logged: this may run within a garbage collection, amid a handler of the application's that cannot be
        called again before it has returned.
        """
        self.seen = None
        if type(self.span) is Span:
            self.span.annotate(why)
        self.finish()
        self.leave()

    def _describe(self, span: Span, error: BaseException | str | None) -> None:
        tag_response(span, self.status, None if error is None else _only(error))
        route = self.route
        if route is not None:
            if route:
                span.tags["http.route"] = str(route)
            if span.name is self.name:
                span.name = route_name(self.method, route, self.status)


def _only(error: BaseException | str | None) -> BaseException | str | None:
    """Return the exception in a group of one, which is all that a task group says of it."""
    while type(error).__name__ in _GROUPS and len(error.exceptions) == 1:  # type: ignore[union-attr]
        error = error.exceptions[0]  # type: ignore[union-attr]
    return error


_streams: set[ServerExchange] = set()
_look_at = 0
on_fork(_streams.clear)  # they are the parent's


def streaming(exchange: ServerExchange) -> None:
    """Remember, until it is over, a response whose body is under way; now and then, end those nobody ends."""
    span = exchange.span
    if type(span) is Span:
        _streams.add(exchange)
        if span.start_ns > _look_at:
            _abandon_the_oldest()


def abandon_streams() -> None:
    """End the spans of all responses whose bodies are under way, as the process ends; no request runs any more."""
    told_running.answered_by(list)
    for exchange in _streams.copy():
        exchange.abandon("the process ended amid the response")


def _abandon_the_oldest() -> None:
    global _look_at  # noqa: PLW0603 - a time kept here costs no thread and no timer
    now = time_ns()
    _look_at = now + _BETWEEN_LOOKS
    for exchange in _streams.copy():
        if type(exchange.span) is Span and now - exchange.span.start_ns > _LONGEST_RESPONSE:
            exchange.abandon("the response was still open after an hour")


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
    known = trust.everybody
    if not known:
        known = trust.trusted(remote if find_remote is None else find_remote(headers))
    remote_parent, meshed = read(headers, names) if known else (None, None)
    parent: object = remote_parent
    if context:  # most requests begin in an empty one
        parent, context = _begun_in(context, remote_parent)
    unseen = exclusions.unseen(parent) if exclusions.is_excluded(path, headers.get(names.user_agent)) else None
    span: AnySpan
    name = ""
    watched = _watch_all
    if unseen is not None:
        span = unseen
    elif type(parent) is PropagatedSpan and parent.sampled is False and tracer.passes_on(parent):
        span = parent
    else:
        given = headers.get(names.span_name) if known else None
        name = encodable(given[:_LONGEST_NAME]) if given else method if method in METHODS else "HTTP"
        plain = type(path) is str and path and ";" not in path and len(path) <= LONGEST_PATH
        tags: Tags = {"http.method": str(method), "http.path": path if plain else path_tag(path)}
        span = tracer.start(name, _SERVER, parent, tags)
        if type(span) is Span:
            span.remote_endpoint = remote = remote if find_remote is None else find_remote(headers)
            find_remote = None
            watched = True
    exchange = ServerExchange(span, method, path, name, context, watched)
    if _keeps_latest:
        _set_latest(exchange)
    if _on_finish is not None and unseen is None:
        remote = remote if find_remote is None else find_remote(headers)
        exchange.seen = Seen(remote[0] if remote else None, headers.get(names.user_agent), perf_counter())
        exchange.watched = True
    if _held is not None and _held(span):
        exchange.prompt = exchange.watched = True
    values: dict[str, Any] = {SPAN_KEY: span, _EXCHANGE_KEY: exchange, LIFE_KEY: exchange}
    if context:
        values = {**context, **values}
    if meshed is not None:
        mesh.bring(values, meshed)
    exchange.context = Context(values)
    return exchange


def _begun_in(context: Context, remote_parent: PropagatedSpan | None) -> tuple[object, Context]:
    """Return the parent of a request that begins in a context which is not empty, and what of that concerns it."""
    if _is_of_same_request(context, remote_parent):
        return context[SPAN_KEY], context
    return remote_parent, outside(context)


def _is_of_same_request(context: Context, remote_parent: PropagatedSpan | None) -> bool:
    """Return whether the current span is an outer layer's for the request that begins here.

    It is another request's where that one is over, or came with other headers: servers begin a request in the context
    of whatever the connection's task or thread did before.
    """
    exchange = exchange_of(context)
    outer = context.get(SPAN_KEY) if exchange is None else exchange.span
    if exchange is not None:
        still_open = not exchange.over
    else:  # OpenTelemetry's middleware has one, perhaps
        still_open = type(outer) is Span and outer.kind is _SERVER and outer.end_ns is None
    if not still_open or remote_parent is None or remote_parent.trace_id is None:
        return still_open
    if type(outer) is Span:
        return (outer.trace_id, outer.parent_id) == (remote_parent.trace_id, remote_parent.span_id)
    return isinstance(outer, PropagatedSpan) and outer.trace_id == remote_parent.trace_id


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


def body_size(headers: Any) -> int | None:
    """Return what Content-Length among pairs of text or bytes says; None where it is absent or makes no sense."""
    try:
        for name, value in headers:
            if name.lower() in ("content-length", b"content-length"):
                return int(value)
    except Exception:
        return None
    return None


def _under_way() -> list[told_running.Request]:
    """Return the recorded requests that are being served by an application of WSGI's or ASGI's form."""
    now = time_ns()
    exchanges = list(_serving.values())  # in one step: other threads add and remove some meanwhile
    spans = [exchange.span for exchange in exchanges]
    ours = (span for span in spans if type(span) is Span and span.sampled and span.start_ns >= _began_here)
    return [told_running.Request(max(now - span.start_ns, 0) // 1_000_000, span.trace_id) for span in ours]


def _forked() -> None:
    global _began_here  # noqa: PLW0603 - as above
    _began_here = time_ns()


told_running.answered_by(_under_way)
on_fork(_forked)


def exchange_in(request: Mapping[str, Any]) -> ServerExchange | None:
    """Return the exchange that an environ or a scope names, while it is under way."""
    mark = request.get(EXCHANGE)
    return _serving.get(mark) if type(mark) is str else None


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
    return outer if _is_of_same_request(context, read(headers, names)[0] if known else None) else None


def current_exchange() -> ServerExchange | None:
    """Return the exchange that is being served here, for hooks which a framework calls without one."""
    return exchange_of(get_context())


def latest_exchange() -> ServerExchange | None:
    """Return the exchange that this thread or task began last, over or not, for what its server logs after it.

    Known since ``keep_latest``.
    """
    return _latest.get(None)


def exchange_of(context: Mapping[str, object]) -> ServerExchange | None:
    """Return the exchange that is being served where ``context`` is the current one."""
    found = exchange_behind(context)
    return found if found is not None and not found.ended else None


def exchange_behind(context: Mapping[str, object]) -> ServerExchange | None:
    """Return the exchange that ``context`` came from, be it over or not."""
    found = context.get(_EXCHANGE_KEY)
    return found if isinstance(found, ServerExchange) else None
