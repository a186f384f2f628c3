"""The server side of one HTTP exchange, whatever the framework: from what its request says to the end of its span."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import Token
from time import time_ns
from typing import Any

from opentelemetry.context import Context

from obskit.base import told_running
from obskit.base.failures import failed
from obskit.base.process import on_fork
from obskit.base.records import NamedTuple
from obskit.base.values import error_text
from obskit.instrumentation.http_tags import SUCCESSES, route_name, tag_response
from obskit.instrumentation.open_responses import under_way
from obskit.tracing.current import AnySpan, attach, detach
from obskit.tracing.ids import new_span_id
from obskit.tracing.span import Span

EXCHANGE = "obskit.exchange"
"""Where a WSGI environ or an ASGI scope names its exchange, so that layers of one server make one span.

By plain text, because applications copy, pickle and dump what a request brought.
"""

_serving: dict[str, ServerExchange] = {}
"""The exchanges that are under way, by what ``EXCHANGE`` says."""
_began_here = 0
"""Since when, in epoch nanoseconds, the exchanges in it are this process's, not of one that it forked from."""

FORGOTTEN = "the response was forgotten before its end"

_CANCELLATIONS = frozenset(["CancelledError", "Cancelled", "GeneratorExit", "RequestCancelled"])  # asyncio, trio, Sanic
_GROUPS = frozenset(["ExceptionGroup", "BaseExceptionGroup"])  # not a type before Python 3.11
SERVER_ERROR = 500


class Seen(NamedTuple):
    """What a request log wants to know of a request besides its span."""

    remote_ip: str | None
    user_agent: str | None
    began: float


OnFinish = Callable[["ServerExchange"], object]
finished: OnFinish | None = None
"""Called after each response that was ``seen``."""
held: Callable[[AnySpan], bool] | None = None
"""Whether a response waits, by its span. To be asked as ``server_exchange.held``, since configuring replaces it."""
_deliver: Callable[[], object] | None = None


def on_finish(call: OnFinish | None) -> None:
    """Call ``call`` after each response, whether its request is recorded or not; None removes it."""
    global finished  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    finished = call


def hold_responses(wanted: Callable[[AnySpan], bool] | None, deliver: Callable[[], object] | None) -> None:
    """Have a response wait while ``deliver`` runs, where ``wanted`` says so of its span; None: no response waits."""
    global held, _deliver
    held, _deliver = wanted, deliver


class ServerExchange:
    """One request being served, from the reading of its headers until its response is over.

    Frameworks set ``status`` and ``route`` (the pattern; empty where none matched) as they learn them, and call
    ``blame``, which sets ``error``. ``failure`` is the ``id`` of the exception that left the application.
    ``sent`` says whether the client has got the status already, ``prompt`` whether the response waits until its span
    has left, ``watched`` whether anybody asks for its status and route, ``measured`` whether for its size, too.
    ``mounted`` is the path below which another application serves the request, whose layer may know more of its route.
    """

    # Without slots: CPython makes an instance of such a class in three quarters of the time. Class attributes are for
    # what few requests ask for: where instances have the attribute, too, CPython looks it up four times as long.
    failure = 0
    sent = False
    prompt = False
    measured = False
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
        ``under_way`` it would keep a response that nobody closes, whose being forgotten is to end the span.
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

    def finish(self, error: BaseException | str | None = None) -> None:
        """End the span, once. Never raises."""
        if self.over:
            return
        self.over = True
        mark = self.mark
        if mark is not None:
            _serving.pop(mark, None)
        span = self.span
        if type(span) is Span:
            if under_way:
                under_way.discard(self)
            try:
                error = self.error if error is None else error
                if error is None and self.status in SUCCESSES:  # as in ``tag_response``
                    span.tags["http.status_code"] = SUCCESSES[self.status]
                else:
                    tag_response(span, self.status, _only(error))
                route = self.route
                if route is not None:
                    if route:
                        span.tags["http.route"] = str(route)
                    if span.name is self.name:
                        span.name = route_name(self.method, route, self.status)
            except Exception:
                failed("describing a response")
            try:
                span.end()
            except Exception:
                failed("ending a server span")
        if self.seen is not None:
            _log(self)

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


def _log(exchange: ServerExchange) -> None:
    try:
        if finished is not None:
            finished(exchange)
    except Exception:
        failed("logging a request")


def exchange_in(request: Mapping[str, Any]) -> ServerExchange | None:
    """Return the exchange that an environ or a scope names, while it is under way."""
    mark = request.get(EXCHANGE)
    return _serving.get(mark) if type(mark) is str else None


def _requests() -> list[told_running.Request]:
    """Return the recorded requests that are being served by an application of WSGI's or ASGI's form."""
    now = time_ns()
    exchanges = list(_serving.values())  # in one step: other threads add and remove some meanwhile
    spans = [exchange.span for exchange in exchanges]
    ours = (span for span in spans if type(span) is Span and span.sampled and span.start_ns >= _began_here)
    return [told_running.Request(max(now - span.start_ns, 0) // 1_000_000, span.trace_id) for span in ours]


def _forked() -> None:
    global _began_here  # noqa: PLW0603 - as above
    _began_here = time_ns()


told_running.answered_by(_requests)
on_fork(_forked)


def _only(error: BaseException | str | None) -> BaseException | str | None:
    """Return the exception in a group of one, which is all that a task group says of it."""
    while type(error).__name__ in _GROUPS and len(error.exceptions) == 1:  # type: ignore[union-attr]
        error = error.exceptions[0]  # type: ignore[union-attr]
    return error
