"""The names of known headers, spelled once for each kind of carrier so that no request has to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Get = Callable[[str], str | None]
"""Reads one header: takes a name spelled as in the HeaderNames used, returns its value or None."""

Fields = list[tuple[str, str]]
"""Headers to be written: the name of each in HTTP's spelling, and its value."""

B3 = "b3"
TRACE_ID, SPAN_ID, PARENT_ID = "X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId"
SAMPLED, FLAGS = "X-B3-Sampled", "X-B3-Flags"
B3_MULTI = (TRACE_ID, SPAN_ID, PARENT_ID, SAMPLED, FLAGS)

MESH = (
    "x-request-id",
    "x-ot-span-context",
    "x-client-trace-id",
    "x-envoy-force-trace",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-amzn-trace-id",
    "sw8",
)
"""What Istio and Envoy ask applications to copy to their outbound calls, besides B3 (which is injected)."""

BAGGAGE = "baggage"
W3C = ("traceparent", "tracestate")
LOWER_CASE = {name: name.lower() for name in (B3, *B3_MULTI, *W3C, *MESH, BAGGAGE)}
"""All names of headers that are written, by how they are spelled then, in lower case."""

B3_NAMES = frozenset(LOWER_CASE[name] for name in (B3, *B3_MULTI))
TRACE_NAMES = B3_NAMES.union(W3C)


def sendable(value: str) -> bool:
    """Return whether every library accepts ``value`` in a header: a value from outside must not make a call fail.

    RFC 9110, 5.5 allows more (bytes above ASCII, tabs), which some clients refuse and gRPC forbids.
    """
    return value.isascii() and value.isprintable()


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; repeated ones joined as HTTP does (RFC 9110, 5.2)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


class HeaderNames:
    """The names of all known headers, as one kind of carrier spells them."""

    def __init__(self, spell: Callable[[str], str]) -> None:
        self.b3 = spell(B3)
        self.trace_id = spell(TRACE_ID.lower())
        self.span_id = spell(SPAN_ID.lower())
        self.parent_id = spell(PARENT_ID.lower())
        self.sampled = spell(SAMPLED.lower())
        self.flags = spell(FLAGS.lower())
        self.span_name = spell("x-span-name")
        self.traceparent = spell("traceparent")
        self.tracestate = spell("tracestate")
        self.cloud_trace_context = spell("x-cloud-trace-context")
        self.baggage = spell(BAGGAGE)
        self.user_agent = spell("user-agent")
        self.mesh = tuple((spell(name), name) for name in MESH)
        self.mesh_names = frozenset([*(key for key, _ in self.mesh), self.baggage])
        b3 = (self.b3, self.trace_id, self.span_id, self.parent_id, self.sampled, self.flags)
        others = (self.span_name, self.traceparent, self.tracestate, self.cloud_trace_context)
        # Most requests have none of these, so that one look saves looking for each.
        self.rare = self.mesh_names.union((self.b3, self.flags, self.span_name))
        # Every request is searched for these; user-agent, which only request logs read, is not among them.
        self.all = self.mesh_names.union(b3, others)


def _wsgi(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


LOWER = HeaderNames(str.lower)
"""Lower-case names: ASGI, gRPC metadata, and any mapping that ignores case."""

WSGI = HeaderNames(_wsgi)
"""Keys of a WSGI environ (PEP 3333)."""
