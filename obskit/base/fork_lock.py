"""Makes forks wait for imports: a child forked during one would keep the partly imported module for ever.

The fork waits until obskit's own imports are done. In three cases it cannot: the import itself waits for the forking
thread, Python does not know of the fork, or a thread of the application imports. Then the child removes the partly
imported modules from ``sys.modules`` and imports them again when they are next needed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import BuiltinFunctionType

from obskit.base.failures import failed
from obskit.base.native_threads import allocate_lock, original
from obskit.base.process import around_fork, on_fork

_STANDSTILL = 1.0  # seconds in which an import that does not wait has made a step
_LOOKS = 0.002  # seconds between two looks at it
_QUICK = 0.0005
_LONGEST_WAIT = 60.0  # seconds: it may wait for the forking thread by looking again and again
_importing: list[tuple[int, int]] = []  # threads, as Python and as the system numbers them
_gate = allocate_lock()  # held while a process forks
_forking = threading.local()


@contextmanager
def no_fork() -> Iterator[None]:
    """Make forks of other threads wait until the end of the block."""
    gate, here = _gate, (threading.get_ident(), threading.get_native_id())
    passed = gate.acquire(timeout=_STANDSTILL)  # not longer: the forking thread may wait for what this one holds
    _importing.append(here)
    if passed:
        gate.release()
    try:
        yield
    finally:
        _importing.remove(here)


def _before_fork() -> None:
    _forking.seen = True
    _forking.holds = _gate.acquire(timeout=_STANDSTILL)
    if _others():
        with _quick_turns():
            _wait()


def _wait() -> None:
    """Wait until no other thread imports, or one has made no progress for a while."""
    began = since = monotonic()
    before: list[str] = []
    while others := _others():
        steps = [_steps(native) for _, native in others]
        now = monotonic()
        if steps != before:
            before, since = steps, now
        if now - since > _STANDSTILL or now - began > _LONGEST_WAIT:
            return
        _leave_the_gate_open()


def _steps(native: int) -> str:
    """Return how long a thread has run and waited to run, as Linux reports it: unchanged if it waits for something."""
    try:
        with open(f"/proc/self/task/{native}/schedstat", "rb") as file:
            return str(file.read())
    except OSError:
        return ""


def _leave_the_gate_open() -> None:
    """Let other threads start imports for a moment: the import that is waited for may depend on one of them."""
    if _forking.holds:
        _gate.release()
    original("time", "sleep")(_LOOKS)
    _forking.holds = _gate.acquire(timeout=_STANDSTILL)


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Switch threads more often: among many busy threads an import would otherwise take seconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _QUICK))
    ours = sys.getswitchinterval()
    try:
        yield
    finally:
        if sys.getswitchinterval() == ours:
            sys.setswitchinterval(before)


def _others() -> list[tuple[int, int]]:
    here = threading.get_ident()
    return [thread for thread in _importing if thread[0] != here]


def _after_in_parent() -> None:
    _forking.seen = False
    if _forking.holds:
        _gate.release()


def _after_in_child() -> None:
    global _gate  # noqa: PLW0603 - the thread that held the old one may be gone
    _gate = allocate_lock()
    gone = [thread for thread, _ in _others()]
    _importing[:] = [thread for thread in _importing if thread[0] not in gone]
    alone = getattr(_forking, "seen", False) and isinstance(threading.get_ident, BuiltinFunctionType)
    _forking.seen = False
    try:
        _forget_imports(None if alone else gone)
    except Exception:
        failed("taking back what was half imported at a fork")


def _forget_imports(threads: list[int] | None) -> None:
    """Drop what these threads, which are not in this process, were importing: its next user imports it anew.

    None stands for all threads but this one, the application's too: in the child of a fork that Python saw there is no
    other. (Where gevent or eventlet number greenlets as threads, these go on in a child.)
    """
    locks = sys.modules["_frozen_importlib"]._module_locks
    here = threading.get_ident()
    for name, reference in list(locks.items()):
        lock = reference()
        owner = getattr(lock, "owner", None)
        if owner != here and (threads is None or owner in threads):
            locks.pop(name, None)  # also one without an owner, which another thread may just have been about to become
            if _is_half_imported(name):
                _drop(name)


def _is_half_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def _drop(name: str) -> None:
    """Remove a module, and those within it: they would be missing among the attributes of the new one."""
    for other, module in list(sys.modules.items()):
        if other == name or (other.startswith(f"{name}.") and _is_of_source(module)):
            del sys.modules[other]


def _is_of_source(module: object) -> bool:
    """Return whether a module can be imported again, unlike an extension."""
    return getattr(getattr(module, "__spec__", None), "cached", None) is not None


around_fork(_before_fork, _after_in_parent)
on_fork(_after_in_child)  # in the order of obskit's other renewals, some of which start threads that import
