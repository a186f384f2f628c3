"""Remote procedure calls, made and served: what their spans say, and which metadata carries the trace.

Names, tags and errors are those of Brave's RpcRequestParser and GrpcParser, except that an ``error`` tag says besides
the code what came with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.failures import failed
from obskit.base.values import error_text
from obskit.instrumentation import client, exclusions, trust
from obskit.instrumentation.http_tags import Remote
from obskit.instrumentation.server import outside
from obskit.instrumentation.tracer import propagator, tracer
from obskit.propagation import mesh
from obskit.propagation.carriers import Pairs
from obskit.propagation.headers import LOWER, LOWER_CASE
from obskit.propagation.propagator import read
from obskit.tracing.current import LIFE_KEY, SPAN_KEY, SUPPRESS_KEY, AnySpan, Life, living, stored_context
from obskit.tracing.others import BAGGAGE_KEY
from obskit.tracing.span import Span
from obskit.tracing.tracer import Tags

OK, CANCELLED, UNKNOWN = "OK", "CANCELLED", "UNKNOWN"
NOT_FOUND = "not_found"
"""The name of a server's span whose method it does not have: callers choose that name, and there is no end of them."""

_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_CLIENT, _SERVER = SpanKind.CLIENT, SpanKind.SERVER  # a global is looked up faster than an enumeration's member
_BINARY = "grpc-trace-bin"  # of the names that are read, the only one whose value is bytes
_LONGEST = 256
_SCHEMES = frozenset(["dns", "ipv4", "ipv6", "xds", "google-c2p", "https", "http"])
_NOBODY = ("an unknown address", None)
_LOCAL = frozenset(["unix", "unix-abstract", "vsock"])


class _Metadata(Pairs):
    """gRPC's metadata, whose names are in lower case."""

    def __setitem__(self, name: str, value: str) -> None:
        self._pairs.append((name.lower(), value))


def begin_call(
    method: bytes, target: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[AnySpan | None, tuple[Any, ...], dict[str, Any]]:
    """Start a call of ``method`` at ``target`` (a gRPC name), whose third argument is its metadata.

    Return its span, which is not made current, and the arguments with the trace in the metadata. There is no span where
    tracing is suppressed, or fails. Never raises.
    """
    try:
        context, parent = stored_context(), None
        if context:
            context = living(context)
            if context.get(SUPPRESS_KEY):
                return None, args, kwargs
            parent = context.get(SPAN_KEY)
        name, tags, remote, url = _called(method, target)
        span = tracer.start(name, _CLIENT, parent, tags.copy())
        if type(span) is Span:
            span.remote_endpoint = remote
        if client.hosts is None or client.may_know(url):
            pairs = _metadata(span, context, args[2] if len(args) > 2 else kwargs.get("metadata"))
            if pairs is None:
                pass
            elif len(args) > 2:
                args = (*args[:2], pairs, *args[3:])
            else:
                kwargs["metadata"] = pairs
        return span, args, kwargs
    except Exception:
        failed("starting a call's span")
        return None, args, kwargs


def _metadata(span: AnySpan, context: Context, given: Any) -> list[Any] | None:
    """Return metadata with the trace's headers; most calls have no others, and nothing that came from a mesh."""
    pairs = [*given] if given is not None and len(given) else []  # what has no length is refused by gRPC, too
    try:
        if pairs or (context and (mesh.MESH_KEY in context or BAGGAGE_KEY in context)):
            propagator.write(span, mesh.for_any_transport(context), _Metadata(pairs))
        else:
            pairs += [(LOWER_CASE[name], value) for name, value in propagator.fields_of(span)]
    except Exception:
        failed("writing trace headers")
        return None
    return pairs


def finish(span: AnySpan, code: str = OK, error: str | None = None) -> None:
    """End the span of a call that had the status ``code``; once. Never raises."""
    if type(span) is Span and span.end_ns is None:
        try:
            if code != OK:
                span.tags["grpc.status_code"] = code
                span.error(error or code)
        except Exception:
            failed("describing how a call ended")
        try:
            span.end()
        except Exception:
            failed("ending a call's span")


def said(code: str, details: Any) -> str:
    """Return the error that a status is: its code, and its details, which gRPC gives as text, as bytes, or not."""
    text = text_of(details)
    return f"{code}: {text}" if text else code


def code_name(number: Any) -> str:
    """Return the name of a status code. Source: grpc/doc/statuscodes.md."""
    return _CODES[number] if 0 <= number < len(_CODES) else UNKNOWN


def text_of(details: Any) -> str:
    """Return the details of a gRPC status, which may be bytes or None."""
    return details.decode(errors="replace") if isinstance(details, bytes) else details or ""


def fail(span: AnySpan | None, error: BaseException) -> None:
    """End the span of a call that ``error`` kept from having a status."""
    if type(span) is Span:
        span.error(error)
        span.end()


class ServedCall(Life):
    """One call being served. ``context`` is the one to serve it in; ``code`` and ``error`` say how it failed."""

    __slots__ = ("code", "context", "error")

    def __init__(self, span: AnySpan, outside: Context) -> None:
        self.span = span
        self.outside = outside
        self.ended = False
        self.code = OK
        self.error: str | None = None
        self.context: Context

    def came_from(self, peer: Callable[[], Any]) -> None:
        """Ask ``peer`` for gRPC's name of the caller's address, where the call is recorded."""
        if type(self.span) is Span:
            self.span.remote_endpoint = _address(peer())

    def blame(self, code: str, why: Any = None) -> None:
        """Note how the call failed: by an exception, or with the details of a status. The first to tell knows best.

        An exception is kept as text, since its traceback holds the frames of everything that serves the call.
        """
        if self.code == OK and type(self.span) is Span:
            self.code = code
            self.error = error_text(why) if isinstance(why, BaseException) else said(code, why)

    def refuse(self, code: str, why: Any) -> None:
        """End the span of a call that has no handler, or got none."""
        if code == "UNIMPLEMENTED" and type(self.span) is Span:
            self.span.name = NOT_FOUND
        self.blame(code, why)
        self.leave()

    def leave(self) -> None:
        """End the span, and take back what the call brought from the threads and tasks that it started."""
        finish(self.span, self.code, self.error)
        self.ended = True
        self.context = self.outside  # the other one holds this

    def __del__(self) -> None:
        if not self.ended:
            self.blame(CANCELLED, "the call was forgotten before its end")
            finish(self.span, self.code, self.error)


def serve_call(
    method: str, metadata: Iterable[tuple[str, str | bytes]], peer: Callable[[], Any] | None = None
) -> ServedCall | None:
    """Start serving a call of ``method``: read its metadata and decide. None where tracing is suppressed.

    ``peer`` gives gRPC's name of the caller's address; a caller without one is trusted where everybody is.
    """
    context = stored_context()
    if context:  # most calls begin in an empty one
        context = living(context)
        if context.get(SUPPRESS_KEY):
            return None
        context = outside(context)
    headers = _text_by_name(metadata)
    if trust.everybody or trust.trusted(_NOBODY if peer is None else _address(text_of(peer()))):
        parent, meshed = read(headers, LOWER)
    else:
        parent = meshed = None
    name, tags = _described(method)
    if exclusions.is_excluded(method, headers.get(LOWER.user_agent)):
        span = exclusions.unseen(parent) or tracer.start(name, _SERVER, parent, tags.copy())
    else:
        span = tracer.start(name, _SERVER, parent, tags.copy())
    if peer is not None and type(span) is Span:
        span.remote_endpoint = _address(peer())
    call = ServedCall(span, context)
    if not context and meshed is None:
        call.context = Context({SPAN_KEY: span, LIFE_KEY: call})
        return call
    values: dict[str, Any] = {**context, SPAN_KEY: span, LIFE_KEY: call}
    if meshed is not None:
        mesh.bring(values, meshed)
    call.context = Context(values)
    return call


def _text_by_name(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return metadata as headers; what is repeated is joined as HTTP does it, what is binary is left out."""
    pairs = tuple(metadata)
    found: dict[str, Any] = dict(pairs)
    if len(found) == len(pairs) and _BINARY not in found:
        return found
    found = {}
    for name, value in pairs:
        if type(value) is str:
            found[name] = f"{found[name]},{value}" if name in found else value
    return found


@lru_cache(maxsize=1024)
def _described(method: str) -> tuple[str, Tags]:
    """Return the name and the tags of a call's span."""
    name = method.lstrip("/")[:_LONGEST]
    service, _, short = name.rpartition("/")
    tags = {"rpc.service": service, "rpc.method": short}
    return name, {key: value for key, value in tags.items() if value}


@lru_cache(maxsize=1024)
def _called(method: bytes, target: bytes) -> tuple[str, Tags, Remote | None, str]:
    """Return the name and the tags of a call's span, the address that it goes to, and a URL that leads there."""
    return *_described(method.decode()), *server_at(target.decode())


def server_at(target: str) -> tuple[Remote | None, str]:
    """Return the address that a target names, None where it names several or none, and a URL that leads there.

    Source: grpc/doc/naming.md.
    """
    scheme, _, rest = target.partition(":")
    if scheme in _LOCAL:
        return None, "http://localhost"
    if scheme not in _SCHEMES:
        rest = target
    elif rest.startswith("//"):
        rest = rest[2:].partition("/")[2]
    remote = None if "," in rest else _split(rest)
    return remote, f"http://{rest}"


@lru_cache(maxsize=1024)
def _address(peer: str | bytes) -> Remote | None:
    """Return the address of a caller, such as ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    family, _, rest = text_of(peer).partition(":")
    return _split(unquote(rest)) if family in {"ipv4", "ipv6"} else None


def _split(text: str) -> Remote | None:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        host, port = text, ""
    return (host.strip("[]"), int(port) if port else None) if host else None
