"""``logs="inherit"``: sets the trace as attributes of every record, for the application's own formats."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from obskit.instrumentation.server import keep_latest
from obskit.logs.frames import like_loggings
from obskit.logs.served import trace_of_record

_NAMES = ("trace_id", "span_id", "trace_sampled")
_OUTSIDE = ("", "", False)


def adding_factory(original: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a record factory that adds the trace to the records of ``original``."""
    keep_latest()  # for what a server logs after a request

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = original(*args, **kwargs)
        _add(record)
        return record

    return like_loggings(factory)


def adding_maker(original: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a ``Logger.makeRecord`` that adds the trace, with any factory, unless ``extra=`` has the same name.

    It is added after ``extra=``, as logging refuses an ``extra`` with the name of an existing attribute.
    """

    def make_record(  # logging's signature
        logger: logging.Logger,
        name: Any,
        level: Any,
        fn: Any,
        lno: Any,
        msg: Any,
        args: Any,
        exc_info: Any,
        func: Any = None,
        extra: Any = None,
        sinfo: Any = None,
    ) -> logging.LogRecord:
        own = {} if extra is None else {key: extra[key] for key in _NAMES if key in extra}
        rest = {key: extra[key] for key in extra if key not in own} if own else extra
        record = original(logger, name, level, fn, lno, msg, args, exc_info, func, rest, sinfo)
        _add(record)
        vars(record).update(own)
        return record

    return like_loggings(make_record)


def _add(record: logging.LogRecord) -> None:
    known = vars(record)
    if _NAMES[0] not in known:
        known.update(zip(_NAMES, trace_of_record(record) or _OUTSIDE, strict=True))
