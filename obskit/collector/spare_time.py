"""What is done while little or nothing comes: dependency links are counted before somebody asks for them.

If somebody asked for too many at once, they are counted whatever comes, so that asking again gets an answer.
"""

from __future__ import annotations

import threading
import time

from obskit.collector.store.database import StoreError
from obskit.collector.store.spans import SpanStore

_IDLE = 1.0  # seconds without a message
_LITTLE = 0.15  # of one processor: as long as the process uses less, it counts while spans come


class SpareTime:
    """A thread that counts ahead in a store while few spans come, or none."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obskit-collector-spare", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the cell that it is counting."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        done, used = -1.0, time.process_time()  # what came until then is counted
        while not self._stop.wait(_IDLE):
            before, used = used, time.process_time()
            quiet = used - before < _LITTLE * _IDLE or self._is_idle()
            if (quiet and self._store.last_added != done) or self._store.links_wanted:
                last = self._store.last_added
                if self._count():
                    done = last

    def _count(self) -> bool:
        """Count until spans come, or amid few of them for a part of the time; True when all is counted."""
        begun = time.process_time()
        try:
            while self._store.count_ahead(newest=self._is_idle()):
                is_calm = self._is_idle() or time.process_time() - begun < _LITTLE * _IDLE
                if self._stop.is_set() or not (is_calm or self._store.links_wanted):
                    return False
        except StoreError:  # whoever asks for links is told
            pass
        return self._is_idle()

    def _is_idle(self) -> bool:
        return time.monotonic() - self._store.last_added >= _IDLE
