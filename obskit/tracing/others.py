"""What others than obskit keep in the context: the application's values and its baggage, of which we take nothing back.

What a request brought ends with it. Whatever else is in its context would be there without obskit, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.baggage import _BAGGAGE_KEY
from opentelemetry.context import Context, create_key
from opentelemetry.trace.propagation import _SPAN_KEY

BAGGAGE_KEY = _BAGGAGE_KEY
_ours = {_SPAN_KEY, otel_context._SUPPRESS_INSTRUMENTATION_KEY}


def own_key(name: str) -> str:
    """Return a key for what obskit keeps in the context, and takes back."""
    key = create_key(name)
    _ours.add(key)
    return key


BROUGHT_KEY = own_key("obskit-brought-baggage")
"""By which a context has the baggage that came with a message; what is in its baggage besides was added since."""


def with_others(outside: Context, context: Mapping[str, Any]) -> Context:
    """Return ``outside`` with what others have put into ``context``, which came from it."""
    if _ours.issuperset(context):  # most of all
        return outside
    values = {**outside, **{key: value for key, value in context.items() if key not in _ours and key != BAGGAGE_KEY}}
    baggage = {**_entries(outside), **added_baggage(context)}
    if baggage:
        values[BAGGAGE_KEY] = baggage
    return Context(values)


def added_baggage(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the baggage of ``context`` has besides that which a message brought."""
    brought = context.get(BROUGHT_KEY, {})
    return {name: value for name, value in _entries(context).items() if brought.get(name) != value}


def _entries(context: Mapping[str, Any]) -> Mapping[str, Any]:
    return context.get(BAGGAGE_KEY) or {}
