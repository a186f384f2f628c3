"""The traces that were looked at last: their pages ask for several things, one after the other."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from obskit.collector.store.spans import SpanStore
from obskit.collector.waterfall.view import View, view

_MOST_VIEWS = 4
_LONGEST_ID = 16


class Views:
    """Views over a store. Any thread may ask."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[str, int, bool, str], View] = OrderedDict()

    def get(self, trace_id: str, params: Mapping[str, str]) -> View | None:
        """Return the view that the parameters ``skew`` and ``focus`` ask for; None for a trace that is not stored."""
        spans = self._store.trace(trace_id)
        if not spans:
            return None
        raw, focus = params.get("skew") == "raw", params.get("focus", "")[:_LONGEST_ID]
        key = trace_id, len(spans), raw, focus  # spans are added and never changed
        with self._lock:  # two requests of one page share what the first computes
            found = self._views.pop(key, None) or view(spans, raw=raw, focus=focus)
            self._views[key] = found
            if len(self._views) > _MOST_VIEWS:
                self._views.popitem(last=False)
        return found
