"""What is done while nothing comes: dependency links are counted before somebody asks for them."""

from __future__ import annotations

import threading
import time

from obskit.collector.store.database import StoreError
from obskit.collector.store.spans import SpanStore

_IDLE = 1.0  # seconds without a message


class SpareTime:
    """A thread that counts ahead in a store while no spans come."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obskit-collector-spare", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after the cell that it is counting."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        done = -1.0  # what came until then is counted
        while not self._stop.wait(_IDLE):
            if self._store.last_added != done and self._is_idle():
                last = self._store.last_added
                if self._count():
                    done = last

    def _count(self) -> bool:
        """True when all is counted."""
        try:
            while self._store.count_ahead():
                if self._stop.is_set() or not self._is_idle():
                    return False
        except StoreError:  # whoever asks for links is told
            pass
        return True

    def _is_idle(self) -> bool:
        return time.monotonic() - self._store.last_added >= _IDLE
