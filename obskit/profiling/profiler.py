"""The profiler's thread: waits until a profile is wanted, samples, and delivers it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failed
from obskit.base.fork_lock import no_fork
from obskit.base.native_threads import allocate_lock, forks_later, hide_own_thread, original, start_thread
from obskit.profiling.heap import HeapTracing
from obskit.profiling.outputs import Assignment, Output, Stop
from obskit.profiling.threads import Identities, switching
from obskit.tracing.current import attach, suppressed

if TYPE_CHECKING:
    from obskit.profiling.profiles import Taken

_PAUSE_AFTER_FAILURE = 10.0


class Profiler:
    """Takes the profiles that ``output`` wants, at ``hz`` samples a second, on a native thread (also under gevent)."""

    def __init__(self, destination: str, build: Callable[[], Output], hz: float, heap: bool) -> None:
        self.destination = destination
        self._build_output = build  # imported on the thread, so that the program does not wait for it
        self._output: Output | None = None
        self._hz = hz
        self._heap = HeapTracing() if heap else None
        self._rest = original("time", "sleep")
        self._profiles = self._lost = self._samples = 0
        self._state = "off"

    def start(self) -> None:
        """Start the thread, unless only forked children shall profile. Does nothing if no thread can be started."""
        self._identities = Identities()
        self._identities.note_this()
        self._stop = Stop()
        self._ended = allocate_lock()
        if self._heap is not None:
            self._heap.start()
        if forks_later():
            return
        try:
            self._ended.acquire()
            start_thread("obskit-profiler", self._run, self._stop, self._ended)
            self._state = "waiting"
        except RuntimeError:
            self._ended.release()
            failed("starting the profiler's thread")

    def after_fork(self) -> None:
        """Start again in a forked child, which lacks its parent's threads."""
        self._profiles = self._lost = self._samples = 0
        switching(quick=False)
        self.start()

    def begin_stop(self) -> None:
        """Tell the thread to end."""
        self._stop.ask()

    def stop(self, deadline: float) -> bool:
        """End the thread after a last profile of its samples so far; return whether it ended before ``deadline``."""
        self.begin_stop()
        ended: bool = self._ended.acquire(timeout=max(0.0, deadline - monotonic()))
        if ended:
            self._ended.release()
        if self._heap is not None:
            self._heap.stop()
        self._state = "off"
        return ended

    def stats(self) -> dict[str, Any]:
        """Return the state, the output, and the numbers of profiles delivered and lost, and of samples."""
        return {
            "state": self._state,
            "output": self.destination,
            "profiles": self._profiles,
            "lost": self._lost,
            "samples": self._samples,
        }

    # The thread

    def _run(self, stop: Stop, ended: Any) -> None:
        try:
            attach(suppressed())
            while not stop.asked:
                self._guarded(stop)
                hide_own_thread()
        except BaseException:  # the interpreter is shutting down
            return
        finally:
            ended.release()

    def _guarded(self, stop: Stop) -> None:
        try:
            if self._output is None:
                with no_fork():
                    self._output = self._build_output()
            assignment = self._output.wait_turn(stop)
            if assignment is not None:
                self._take(assignment, self._output, stop)
        except Exception:
            failed("profiling")
            stop.wait(_PAUSE_AFTER_FAILURE)

    def _take(self, assignment: Assignment, output: Output, stop: Stop) -> None:
        """Sample, and deliver a profile of each type."""
        with no_fork():
            from obskit.profiling.profiles import Taken
        self._state = "sampling"
        taken = Taken(assignment, self._hz, self._identities, stop, self._let_others_go_on)
        self._state = "waiting"
        self._samples += taken.samples
        for profile_type in (assignment.profile_type, *assignment.also):
            self._deliver(output, assignment._replace(profile_type=profile_type), taken)

    def _let_others_go_on(self) -> None:
        self._rest(0)

    def _deliver(self, output: Output, assignment: Assignment, taken: Taken) -> None:
        delivered = False
        try:
            delivered = output.deliver(assignment, taken.profile(assignment.profile_type))
        finally:
            self._profiles += delivered
            self._lost += not delivered
