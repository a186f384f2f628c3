"""Google's own profiling agent, started so that it neither blocks nor changes the application.

google-cloud-profiler 4.1.0 asks the metadata server without a timeout, wants to be started by the main thread, adds a
handler to the root logger, and crashes Python from 3.11 on when it takes CPU profiles. Here the parts that its
``start()`` puts together are put together on a thread of their own. What only the main thread may do is to handle
SIGALRM: that is done at once, by obskit's handler, which the agent's joins later.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from time import monotonic
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from obskit.base.failures import failed, tell
from obskit.base.fork_lock import no_fork
from obskit.base.process import on_fork
from obskit.base.values import one_line
from obskit.export.delivery.attempts import Backoff
from obskit.export.gcp.metadata import Metadata
from obskit.export.net.url import is_loopback
from obskit.profiling.cloud_profiler_endpoint import ENDPOINT_VARIABLE, find_api, quietly, service_name

_FORCE_CPU = "OBSKIT_GOOGLE_PROFILER_CPU"
_PERIOD = 10  # milliseconds
_LOOK_UP = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
_SETTLING = 1.0  # a forked child that becomes another program at once is left alone

_BUILTIN = "profiler='builtin' uploads to Cloud Profiler without it"
_NOT_COMPILING = f"Google's profiling agent does not compile on Python 3.13 and later: {_BUILTIN}"
_NOT_INSTALLED = f"Google's profiling agent is missing: pip install 'obskit[google-profiler]'; {_BUILTIN}"
_NO_MODE = "Google's profiling agent is not started: %s, and %s"
_NO_CPU = f"it takes no CPU profiles, which need Linux and crash Python from 3.11 on ({_FORCE_CPU}=true allows them)"
_NO_WALL = "it takes no wall-time profiles, as it is not started on the main thread or SIGALRM is in use"
_ALARM_LOST = "Google's profiling agent takes no wall-time profiles: the application handles SIGALRM itself now"


Sample = Callable[[int, "FrameType | None"], None]


class AgentOptions(NamedTuple):
    """What the agent needs of the settings."""

    service: str
    version: str | None = None
    project: str | None = None


class GoogleAgent:
    """Runs Google's agent in this process and in those forked off it. No method raises, or waits for anything.

    ``sample`` is what the agent does at each SIGALRM.
    """

    sample: Sample | None = None

    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._types: tuple[str, ...] = ()
        self._stop: threading.Event | None = None
        self._client: Any = None
        self._state = "off"
        self._failures = 0
        self._alarm_lost = False

    def start(self) -> None:
        """Begin to start the agent. Wall-time profiles take the main thread, and a SIGALRM that is not in use."""
        global _current  # noqa: PLW0603 - a process has one SIGALRM, and one agent
        if self._stop is not None:
            return
        if _current is not None:
            _current.stop()
        try:
            self._types = _types()
            if self._types:
                _current = self
                self._launch_soon(after=0.0)
        except Exception:
            failed("starting Google's profiling agent")

    def stop(self) -> None:
        """Take no further profiles. The agent's thread cannot end, and waits for nothing from then on.

        SIGALRM stays handled: the signal of a profile just under way would otherwise end the process.
        """
        global _current  # noqa: PLW0603
        with self._lock:
            if self._stop is None:
                return
            self._stop.set()
            self._stop = None
            _current = None
            if self._client is not None:
                _park(self._client)
            self._client = None
            self._state = "off"

    def after_fork(self) -> None:
        """Start again in a forked child, which has none of its parent's threads."""
        self._lock = threading.Lock()
        self._client = None
        try:
            if self._stop is not None:
                self._launch_soon(after=_SETTLING)
        except RuntimeError:  # no more threads
            failed("starting Google's profiling agent in a forked child")

    def stats(self) -> dict[str, Any]:
        """Return the ``state`` (``off``, ``starting`` or ``running``), the profiles' ``types``, and ``failures``."""
        return {"state": self._state, "types": list(self._types), "failures": self._failures}

    def _launch_soon(self, after: float) -> None:
        self._state = "starting"
        self._stop = stop = threading.Event()
        threading.Thread(target=self._run, args=(stop, after), name="obskit-google-agent", daemon=True).start()

    def _run(self, stop: threading.Event, after: float) -> None:
        """Launch the agent, trying again where what failed may pass."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        with quietly():
            while not stop.wait(after) and not self._launched(stop):
                after = backoff.pause()

    def _launched(self, stop: threading.Event) -> bool:
        """Try to launch the agent, and return whether there is nothing more to try."""
        try:
            self._launch(stop)
        except (ImportError, _AlreadyStarted) as error:
            self._failures += 1
            self._state = "off"
            tell(logging.WARNING, "Google's profiling agent cannot start (%s); %s", one_line(error), _BUILTIN)
        except BaseException as error:  # SystemExit too: no other code runs on this thread
            self._failures += 1
            if self._failures == 1:
                tell(logging.WARNING, "Google's profiling agent cannot start (%s); it is tried again", one_line(error))
            return False
        return True

    def _launch(self, stop: threading.Event) -> None:
        """Do what ``googlecloudprofiler.start`` does. Raises whatever goes wrong."""
        client = _new_client(self._options, self._types)
        if "WALL" in self._types:
            self._join(client._profilers["WALL"])
        with self._lock:
            if not stop.is_set():
                client.start()
                self._client = client
                self._state = "running"

    def _join(self, profiler: Any) -> None:
        """Make the agent's sampler of wall time use obskit's handler of SIGALRM."""
        profiler.register_handler = lambda: None
        profiler.profile = partial(self._take_wall, profiler.profile)
        self.sample = profiler._handler

    def _take_wall(self, take: Callable[[int], bytes], duration_ns: int) -> bytes:
        """Take a profile, unless its alarms would go to the application's handler."""
        if signal.getsignal(signal.SIGALRM) is _on_alarm:
            return take(duration_ns)
        if not self._alarm_lost:
            self._alarm_lost = True
            tell(logging.WARNING, _ALARM_LOST)
        raise RuntimeError(_ALARM_LOST)


class _AlreadyStarted(Exception):
    """The application runs the agent by itself."""


_current: GoogleAgent | None = None


def _types() -> tuple[str, ...]:
    """Return the types of profiles that do no harm here; SIGALRM is taken for WALL. Tells what is left out."""
    if find_spec("googlecloudprofiler") is None:
        tell(logging.WARNING, "%s", _NOT_COMPILING if sys.version_info >= (3, 13) else _NOT_INSTALLED)
        return ()
    forced = os.environ.get(_FORCE_CPU, "").lower() in ("1", "true", "yes", "on")
    cpu = sys.platform.startswith("linux") and (sys.version_info < (3, 11) or forced)
    wall = _take_alarm()
    if not cpu and not wall:
        tell(logging.WARNING, _NO_MODE, _NO_CPU, _NO_WALL)
    elif not (cpu and wall):
        tell(logging.WARNING, "Google's profiling agent is limited: %s; %s", _NO_WALL if cpu else _NO_CPU, _BUILTIN)
    return (*(["CPU"] if cpu else []), *(["WALL"] if wall else []))


def _take_alarm() -> bool:
    """Handle SIGALRM, and return whether that was possible: on the main thread, where the application does not."""
    handler = signal.getsignal(signal.SIGALRM)
    if handler is _on_alarm:
        return True
    if handler is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        return False
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.siginterrupt(signal.SIGALRM, False)
    atexit.register(_release_alarm)
    return True


def _on_alarm(number: int, frame: FrameType | None) -> None:
    """Let the agent take a sample; what it raises must not reach the code that was interrupted."""
    agent = _current
    if agent is not None and agent.sample is not None:
        try:
            agent.sample(number, frame)
        except Exception:
            failed("sampling for Google's profiling agent")


def _release_alarm() -> None:
    """See that no late alarm ends a process whose handlers are gone already."""
    if signal.getsignal(signal.SIGALRM) is _on_alarm:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _new_client(options: AgentOptions, types: tuple[str, ...]) -> Any:
    """Make the agent's client: finds credentials and project. Raises whatever goes wrong."""
    discovery_url = _discovery_url()
    with no_fork():
        import googlecloudprofiler
        from googlecloudprofiler import client as agent
    if googlecloudprofiler._started:
        raise _AlreadyStarted("the application has started it already")
    agent.retrieve_gce_metadata = _ask_metadata  # the agent's own waits for ever
    logger = logging.getLogger("googlecloudprofiler")
    logger.setLevel(logger.level or logging.ERROR)  # as its start() does
    client: Any = agent.Client()
    project = client.setup_auth(options.project)
    client.config(
        project,
        service_name(options.service),
        options.version,
        disable_cpu_profiling="CPU" not in types,
        disable_wall_profiling="WALL" not in types,
        period_ms=_PERIOD,
        discovery_service_url=discovery_url,
    )
    client._poll_profiler_service = _quietly(client._poll_profiler_service)
    return client


def _discovery_url() -> str | None:
    """Return where the agent learns of an endpoint that is not Google's. Raises ValueError, naming the remedy."""
    if not os.environ.get(ENDPOINT_VARIABLE):
        return None
    url = find_api(os.environ).address
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{ENDPOINT_VARIABLE}={url!r} must be https:// for Google's agent, which sends credentials")
    return f"{url}/$discovery/rest?version=v2"


def _ask_metadata(key: str) -> str | None:
    return Metadata(os.environ, monotonic() + _LOOK_UP).get(key) or None


def _quietly(poll: Callable[[], None]) -> Callable[[], None]:
    """Return ``poll`` for a thread whose requests are not traced."""

    def poll_quietly() -> None:
        with quietly():
            poll()

    return poll_quietly


def _park(client: Any) -> None:
    """Keep the agent's thread, which has no end, from asking for turns and from using one it is given."""
    client._profilers.clear()
    client._create_profile = threading.Event().wait


def _after_fork() -> None:
    if _current is not None:
        _current.after_fork()


on_fork(_after_fork)
