"""Calls one gRPC method with raw bytes, without generated code; forks wait for a call in progress.

A forked child lacks gRPC's threads, and whether gRPC can replace them depends on its version, on
GRPC_ENABLE_FORK_SUPPORT and on what it was doing: a child may wait for ever. So a fork waits for the call in progress,
and then until the channel is closed, which ends gRPC in this process if nothing else uses it.
"""

from __future__ import annotations

import os
import re
import threading
from glob import glob
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import grpc

from obskit.base.values import one_line
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome

if TYPE_CHECKING:
    from obskit.export.delivery.collector_report import CollectorReport

# One call is one attempt, straight to the address that was given.
_OPTIONS = (("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
_METADATA = (("b3", "0"),)  # a mesh that sees it does not trace the delivery of traces
_LONGEST_WAIT = 1.0  # seconds a fork waits for a call to end, and then for it to notice that it is cancelled
_LONGEST_END = 0.1  # seconds it waits for gRPC's threads, which take some 5 ms
_THREADS = ("event_engine", "grpc_", "lifeguard")
# How gRPC says that no server answered; other texts of the same status are a server's.
_nobody_there = re.compile("failed to connect|resol|name lookup|lookup failed", re.IGNORECASE).search
_RETRY = frozenset(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN"])


class Caller:
    """Calls ``method`` of the server at ``address`` (``host:port``); connects when it is first called."""

    def __init__(self, address: str, tls: bool, method: str, report: CollectorReport | None = None) -> None:
        self._address = address
        self._tls = tls
        self._method = method
        self._report = report
        self._channel: grpc.Channel | None = None
        self._call: Any = None
        self._calling = threading.Lock()
        self._held = False
        _callers.append(self)

    def call(self, body: bytes, timeout: float) -> Outcome:
        """Make one attempt of ``timeout`` seconds, and say how it went."""
        with self._calling:
            try:
                call = (self._call or self._connect())(body, timeout=timeout, metadata=self._metadata())[1]
                outcome = DELIVERED
            except grpc.RpcError as error:
                call, outcome = error, _outcome(error)
            if outcome.reason == UNREACHABLE:
                self._disconnect()  # a channel waits longer and longer between attempts to connect, a new one does not
            elif self._report:
                self._report.learn(dict(call.trailing_metadata() or ()))
            return outcome

    def close(self) -> None:
        """Close the channel."""
        self._disconnect()
        if self in _callers:
            _callers.remove(self)

    @property
    def active(self) -> bool:
        """Return whether there is a channel, or is about to be one."""
        return self._channel is not None or self._calling.locked()

    def before_fork(self) -> None:
        """Wait for the call under way, a moment only, then cancel it, and take the channel down."""
        self._held = self._calling.acquire(timeout=_LONGEST_WAIT)
        if not self._held:
            self._disconnect()
            self._held = self._calling.acquire(timeout=_LONGEST_WAIT)
        self._disconnect()

    def after_fork(self) -> None:
        """Let calls go on, in the parent."""
        if self._held:
            self._held = False
            self._calling.release()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (*_METADATA, *self._report.headers().items()) if self._report else _METADATA

    def _connect(self) -> Any:
        if self._tls:
            self._channel = grpc.secure_channel(self._address, grpc.ssl_channel_credentials(_roots()), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(self._address, _OPTIONS)
        self._call = self._channel.unary_unary(self._method).with_call
        return self._call

    def _disconnect(self) -> None:
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()


_callers: list[Caller] = []
"""Kept, so that a child whose fork Python did not see does not take down a channel of its parent's."""


def _roots() -> bytes | None:
    """Return the certificates that SSL_CERT_FILE names, as for HTTPS; None for those that gRPC chooses."""
    path = os.environ.get("SSL_CERT_FILE")
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


def _outcome(error: grpc.RpcError) -> Outcome:
    """Return what a status that is not OK means for a batch."""
    code, detail = error.code().name, one_line(error.details())
    if code == "DEADLINE_EXCEEDED" or (code == "UNAVAILABLE" and _nobody_there(detail)):
        return Outcome(UNREACHABLE, detail, retry=True)
    too_large = code == "RESOURCE_EXHAUSTED" and "larger" in detail
    return Outcome(f"grpc_{code.lower()}", f"{code} {detail}", code in _RETRY and not too_large, too_large=too_large)


def _before_fork() -> None:
    callers = [caller for caller in _callers if caller.active]
    for caller in callers:
        caller.before_fork()
    deadline = monotonic() + _LONGEST_END
    while callers and _is_at_work() and monotonic() < deadline:
        sleep(0.001)


def _is_at_work() -> bool:
    """Return whether gRPC has threads in this process. They are not Python's, so only the system knows."""
    return any(_thread_name(path).startswith(_THREADS) for path in glob("/proc/self/task/*/comm"))


def _thread_name(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # it has just ended
        return ""


def _after_fork_in_parent() -> None:
    for caller in _callers:
        caller.after_fork()


def _after_fork_in_child() -> None:
    _callers.clear()


# After grpc's own: the last to register is the first to be called before a fork.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
