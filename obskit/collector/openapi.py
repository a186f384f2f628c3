"""``/openapi.json``: the HTTP interface, described for programs.

Source: the OpenAPI specification 3.0.3. The parts of Zipkin are named as in its own description
(openzipkin/zipkin-api, ``zipkin2-api.yaml``), with what this server adds.
"""

from __future__ import annotations

from typing import Any

import msgspec

_Part = dict[str, Any]


def openapi(version: str) -> bytes:
    """Return the description, as JSON. ``version`` is that of this server."""
    about = {"title": "obskit collector", "version": version, "description": "Zipkin's API v2, and more."}
    return msgspec.json.encode(
        {
            "openapi": "3.0.3",
            "info": about,
            "paths": _PATHS,
            "components": {"schemas": _SCHEMAS, "securitySchemes": _TOKEN},
            "security": [{}, *({name: []} for name in _TOKEN)],
        }
    )


# --- parts -----------------------------------------------------------------------------------------------


def _object(required: tuple[str, ...] = (), *, more: bool = False, **properties: _Part) -> _Part:
    found: _Part = {"type": "object", "properties": properties, "additionalProperties": more}
    return {**found, "required": list(required)} if required else found


def _list(items: _Part) -> _Part:
    return {"type": "array", "items": items}


def _ref(name: str) -> _Part:
    return {"$ref": f"#/components/schemas/{name}"}


def _integer(smallest: int, about: str = "") -> _Part:
    found: _Part = {"type": "integer", "format": "int64", "minimum": smallest}
    return {**found, "description": about} if about else found


def _query(name: str, schema: _Part, about: str = "", *, required: bool = False) -> _Part:
    found = {"name": name, "in": "query", "schema": schema, "required": required}
    return {**found, "description": about} if about else found


def _answers(kind: str, schema: _Part, **others: str) -> _Part:
    """Answer 200 with a body of this kind, and errors as a line of text."""
    found: _Part = {"200": {"description": "the answer", "content": {kind: {"schema": schema}}}}
    return {**found, **_errors(**others)}


def _errors(**abouts: str) -> _Part:
    """Return errors: ``_404="..."`` is the answer 404 in text. What may come on any path is added."""
    content = {"text/plain": {"schema": _TEXT}}
    always = {
        "_400": "what was sent makes no sense",
        "_401": "the token is missing",
        "_403": "this Host, or this Origin, may not ask",
        "_503": "storage failed, or it took too long",
    }
    return {name[1:]: {"description": about, "content": content} for name, about in {**always, **abouts}.items()}


def _get(summary: str, answers: _Part, *parameters: _Part) -> _Part:
    return {"summary": summary, "parameters": list(parameters), "responses": answers}


def _post(summary: str, answers: _Part, bodies: dict[str, _Part], *parameters: _Part) -> _Part:
    content = {kind: {"schema": schema} for kind, schema in bodies.items()}
    too_much = _errors(
        _408="the body did not come in time", _413="too many bytes or spans", _415="a format that is not read"
    )
    return {
        "summary": summary,
        "parameters": list(parameters),
        "requestBody": {"content": content},
        "responses": {**answers, **too_much},
    }


# --- schemas ---------------------------------------------------------------------------------------------

_TEXT: _Part = {"type": "string"}
_BYTES: _Part = {"type": "string", "format": "binary"}
_FLAG: _Part = {"type": "boolean"}
_NAMES = _list(_TEXT)
_ID: _Part = {"type": "string", "pattern": "^(?!0+$)[0-9a-f]{1,16}$"}
_TRACE_ID: _Part = {"type": "string", "pattern": "^(?!0+$)[0-9a-f]{1,32}$"}
_COUNT = _integer(0)
_TOKEN: _Part = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "any name; the token is the password"},
}
_SCHEMAS: _Part = {
    "Endpoint": _object(serviceName=_TEXT, ipv4=_TEXT, ipv6=_TEXT, port={**_integer(0), "maximum": 65535}),
    "Annotation": _object(("timestamp", "value"), timestamp={"type": "integer", "format": "int64"}, value=_TEXT),
    "Span": _object(
        ("traceId", "id"),
        traceId=_TRACE_ID,
        parentId=_ID,
        id=_ID,
        kind={"type": "string", "enum": ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]},
        name=_TEXT,
        timestamp=_integer(0, "microseconds since 1970"),
        duration=_integer(0, "microseconds"),
        localEndpoint=_ref("Endpoint"),
        remoteEndpoint=_ref("Endpoint"),
        annotations=_list(_ref("Annotation")),
        tags={"type": "object", "additionalProperties": _TEXT},
        debug=_FLAG,
        shared=_FLAG,
    ),
    "Trace": _list(_ref("Span")),
    "Link": _object(("parent", "child", "callCount"), parent=_TEXT, child=_TEXT, callCount=_COUNT, errorCount=_COUNT),
}
_SERVICE = _query("serviceName", _TEXT)
_END = _query("endTs", _integer(1), "milliseconds since 1970; now where it is missing")
_LOOKBACK = _query("lookback", _integer(1), "milliseconds before endTs; a day where it is missing")

# --- paths -----------------------------------------------------------------------------------------------

_STORED = {"202": {"description": "every span is stored"}}
_TRACES = _answers("application/json", _list(_ref("Trace")))
_LISTED = _answers("application/json", _NAMES)
_OTLP_BODIES = {"application/json": _object(more=True), "application/x-protobuf": _BYTES}
_OTLP_TAKEN: _Part = {
    "200": {
        "description": "stored; the answer says what could not be read",
        "content": {"application/json": {"schema": _object(more=True)}, "application/x-protobuf": {"schema": _BYTES}},
    },
    **_errors(),
}
_STATE = _answers("application/json", _object(("status",), more=True, status=_TEXT))
_STATE["503"] = {**_STATE["200"], "description": "storage failed, or what spans are read from is away"}

_READS: _Part = {
    "traces": _get(
        "Traces that match, the newest first",
        _TRACES,
        _SERVICE,
        _query("remoteServiceName", _TEXT),
        _query("spanName", _TEXT),
        _query("annotationQuery", _TEXT, "tags and annotations, as in: error and http.method=POST"),
        _query("minDuration", _integer(1), "microseconds"),
        _query("maxDuration", _integer(1), "microseconds; needs minDuration"),
        _END,
        _LOOKBACK,
        _query("limit", {**_integer(1), "maximum": 2**31 - 1}, "10 where it is missing"),
    ),
    "trace/{traceId}": _get(
        "One trace",
        _answers("application/json", _ref("Trace"), _404="it is not stored"),
        {"name": "traceId", "in": "path", "schema": _TRACE_ID, "required": True},
    ),
    "traceMany": _get("Several traces", _TRACES, _query("traceIds", _TEXT, "two or more, with commas", required=True)),
    "dependencies": _get(
        "Which service calls which",
        _answers("application/json", _list(_ref("Link"))),
        {**_END, "required": True, "description": "milliseconds since 1970"},
        _LOOKBACK,
    ),
    "services": _get("Service names", _LISTED),
    "spans": _get("Span names of a service", _LISTED, {**_SERVICE, "required": True}),
    "remoteServices": _get("What a service calls", _LISTED, {**_SERVICE, "required": True}),
    "autocompleteKeys": _get("Tags whose values are listed", _LISTED),
    "autocompleteValues": _get(
        "Values of one of them", _LISTED, _query("key", {**_TEXT, "minLength": 1}, required=True)
    ),
}
_PATHS: _Part = {f"/api/v2/{path}": {"get": read} for path, read in _READS.items()}
_PATHS["/api/v2/spans"]["post"] = _post(
    "Store spans",
    {**_STORED, **_errors()},
    {"application/json": _list(_ref("Span")), "application/x-protobuf": _BYTES},
)
_PATHS |= {
    "/api/v1/spans": {
        "post": _post(
            "Store spans of Zipkin's first model",
            {**_STORED, **_errors()},
            {
                "application/json": _list(_object(("traceId", "id"), more=True, traceId=_TRACE_ID, id=_ID)),
                "application/x-thrift": _BYTES,
            },
        )
    },
    "/v1/traces": {"post": _post("Store OpenTelemetry's spans", _OTLP_TAKEN, _OTLP_BODIES)},
    "/v1/logs": {"post": _post("Store OpenTelemetry's log records", _OTLP_TAKEN, _OTLP_BODIES)},
    "/api/obskit/v1/cells": {
        "get": _get(
            "Calls, errors and durations by service and span name",
            _answers("application/json", _list(_object(more=True))),
            _SERVICE,
            _END,
            _LOOKBACK,
            _query("by", {"type": "string", "enum": ["", "pod"]}, "pod: for each workload and pod"),
        )
    },
    "/zipkin/config.json": {
        "get": _get("What Zipkin's own pages ask for", _answers("application/json", _object(more=True)))
    },
    "/health": {"get": _get("Whether storage, and what spans are read from, work", _STATE)},
    "/info": {
        "get": _get("The version", _answers("application/json", _object(("zipkin",), zipkin=_object(more=True))))
    },
    "/metrics": {
        "get": _get(
            "What was received, since the start",
            _answers("application/json", {"type": "object", "additionalProperties": {"type": "number"}}),
        )
    },
    "/prometheus": {"get": _get("The same for Prometheus", _answers("text/plain", _TEXT))},
    "/openapi.json": {"get": _get("This description", _answers("application/json", _object(more=True)))},
}
