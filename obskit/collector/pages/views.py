"""A cache of the traces viewed last: a trace's page sends several requests, one after the other."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from obskit.collector.store.spans import SpanStore
from obskit.collector.waterfall.view import View, view

_MOST_VIEWS = 4
_LONGEST_ID = 16


class Views:
    """Views over a store. Any thread may use it."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[str, int, bool, str], View] = OrderedDict()

    def get(self, trace_id: str, params: Mapping[str, str]) -> View | None:
        """Return the view that the parameters ``skew`` and ``focus`` select; None if the trace is not stored."""
        spans = self._store.trace(trace_id)
        if not spans:
            return None
        raw, focus = params.get("skew") == "raw", params.get("focus", "")[:_LONGEST_ID]
        key = trace_id, len(spans), raw, focus  # spans are only added, so their number tells if the trace changed
        with self._lock:  # concurrent requests of one page share the computation
            found = self._views.pop(key, None) or view(spans, raw=raw, focus=focus)
            self._views[key] = found
            if len(self._views) > _MOST_VIEWS:
                self._views.popitem(last=False)
        return found
