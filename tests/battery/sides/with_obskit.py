"""obskit, configured by ``OBSKIT_*``. At the end of a process its ledger is written; what it logs goes to a file."""

from __future__ import annotations

import atexit
import json
import logging
import os

from log_file import log_to_file

import obskit

_FOLDER = os.environ["BATTERY_FOLDER"]


def write_ledger() -> None:
    with open(os.path.join(_FOLDER, f"ledger-{os.getpid()}.json"), "w") as file:
        json.dump(obskit.stats(), file)


atexit.register(write_ledger)  # before init(): the last registered runs first, so this sees the exit's flush
log_to_file("obskit")
obskit.init(service="battery")
span, flush, stats = obskit.span, obskit.flush, obskit.stats


def raising_hook() -> None:
    """Make raise whatever of the application's obskit calls: who logs what obskit has to say."""

    class Angry(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the application's handler")

    logging.getLogger("obskit").addHandler(Angry())


def raising_processor() -> None:
    """Attach a processor all of whose methods raise, and one whose methods end the program."""
    from opentelemetry import trace

    for kind in (RuntimeError, KeyError):
        trace.get_tracer_provider().add_span_processor(_Raising(kind))


class _Raising:
    def __init__(self, kind: type[BaseException]) -> None:
        self._kind = kind

    def on_start(self, *_: object, **__: object) -> None:
        raise self._kind

    on_end = force_flush = shutdown = on_start
