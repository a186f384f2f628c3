"""B3, read and written as Zipkin's reference implementation does.

Source: openzipkin/b3-propagation and Brave's ``B3Propagation``; where they differ, Brave.
"""

from __future__ import annotations

from typing import Any

from obskit.base.patterns import pattern
from obskit.propagation.headers import B3, FLAGS, PARENT_ID, SAMPLED, SPAN_ID, TRACE_ID, Fields, Get, HeaderNames
from obskit.tracing.current import AnySpan
from obskit.tracing.propagated import PropagatedSpan, received

_SINGLE = pattern(r"((?:[0-9a-f]{16}){1,2})-([0-9a-f]{16})(?:-([01d]))?(?:-([0-9a-f]{16}))?")
_SINGLE_MAX = 68
_HEX = "0123456789abcdef"
_ZERO = "0" * 16
_SAMPLED = {None: None, "1": True, "0": False, "true": True, "false": False}
_LONGEST_DECISION = len("false")
_UNKNOWN: Any = object()
_DEBUG = ((FLAGS, "1"),)
_DECISIONS: dict[bool | None, tuple[tuple[str, str], ...]] = {
    True: ((SAMPLED, "1"),),
    False: ((SAMPLED, "0"),),
    None: (),
}
_from_hex = bytes.fromhex


def extract(get: Get, names: HeaderNames) -> PropagatedSpan | None:
    """Return the context in the request's B3 headers; None if they are absent or malformed.

    If ``b3`` is valid, the ``X-B3-*`` headers are ignored.
    """
    single = get(names.b3)
    if single is not None:
        found = _parse_single(single)
        if found is not None:
            return found
    return extract_multi(get, names, get(names.flags) == "1")


def extract_multi(get: Get, names: HeaderNames, debug: bool = False) -> PropagatedSpan | None:
    """Return the context in the ``X-B3-*`` headers but Flags, of which the caller knows what it says."""
    trace_id, sampled_text = get(names.trace_id), get(names.sampled)
    sampled = _SAMPLED.get(sampled_text, _UNKNOWN)
    if sampled is _UNKNOWN:
        sampled = _SAMPLED.get(sampled_text[: _LONGEST_DECISION + 1].lower(), _UNKNOWN)  # type: ignore[index]
        if sampled is _UNKNOWN:
            return None
    if debug:
        sampled = True
    if trace_id is None:
        return None if sampled is None else received(None, None, None, sampled, debug)
    span_id, parent_id = get(names.span_id), get(names.parent_id)
    if span_id is None:
        return None
    if len(trace_id) == 32 and len(span_id) == 16 and (parent_id is None or len(parent_id) == 16):
        ids = trace_id + span_id if parent_id is None else trace_id + span_id + parent_id
        try:  # checks for whole bytes in lower-case hex at half the cost of a regular expression
            if _from_hex(ids).hex() == ids and _ZERO not in ids:
                return received(trace_id, span_id, parent_id, sampled, debug)
        except ValueError:
            pass
    return _with_unusual_ids(trace_id, span_id, parent_id, sampled, debug)


def _parse_single(text: str) -> PropagatedSpan | None:
    if len(text) == 1:
        return _decision(text)
    match = _SINGLE.fullmatch(text) if len(text) <= _SINGLE_MAX else None
    if match is None:
        return None
    trace_id, span_id, decision, parent_id = match.groups()
    if span_id == _ZERO or not trace_id.strip("0"):
        return None
    sampled = None if decision is None else decision != "0"
    parent_id = None if parent_id == _ZERO else parent_id
    return received(_shorten(trace_id), span_id, parent_id, sampled, decision == "d")


def _decision(char: str) -> PropagatedSpan | None:
    if char not in "01d":
        return None
    return received(None, None, None, char != "0", char == "d")


def _with_unusual_ids(
    trace_id: str, span_id: str, parent_id: str | None, sampled: bool | None, debug: bool
) -> PropagatedSpan | None:
    """Return the context where an id is short, as Zipkin's first tracers sent them, or has many zeros, or is no hex."""
    if not 2 <= len(trace_id) <= 32 or not 2 <= len(span_id) <= 16:
        return None
    if parent_id is not None:
        if not 2 <= len(parent_id) <= 16 or not _is_hex(parent_id) or not parent_id.strip("0"):
            return None
        parent_id = parent_id.zfill(16)
    if not _is_hex(trace_id + span_id) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    trace_id = trace_id.zfill(16 if len(trace_id) <= 16 else 32)
    return received(_shorten(trace_id), span_id.zfill(16), parent_id, sampled, debug)


def _is_hex(text: str) -> bool:
    """Return whether all of ``text`` is lower-case hex."""
    return not text.strip(_HEX)


def _shorten(trace_id: str) -> str:
    """Return a 128-bit id whose high half is zero as the 64-bit id it was."""
    return trace_id[16:] if len(trace_id) == 32 and trace_id.startswith(_ZERO) else trace_id


def multi(span: AnySpan) -> Fields:
    """Return the ``X-B3-*`` headers: ids where there are any, and the decision, debug as Flags alone."""
    trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_id
    decision = _DEBUG if span.debug else _DECISIONS[span.sampled]
    if trace_id is None or span_id is None:
        return [*decision]
    if parent_id is None:
        return [(TRACE_ID, trace_id), (SPAN_ID, span_id), *decision]
    return [(TRACE_ID, trace_id), (SPAN_ID, span_id), (PARENT_ID, parent_id), *decision]


def single(span: AnySpan) -> Fields:
    """Return the ``b3`` header: ``trace-span-decision-parent``, or the decision alone."""
    decision = "d" if span.debug else {True: "1", False: "0", None: None}[span.sampled]
    parts = (span.trace_id, span.span_id, decision, span.trace_id and span.parent_id)
    value = "-".join(part for part in parts if part)
    return [(B3, value)] if value else []
