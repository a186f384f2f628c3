"""Starts Google's own profiling agent so that it neither blocks nor changes the application.

google-cloud-profiler 4.1.0 queries the metadata server without a timeout, must be started on the main thread, adds a
handler to the root logger, and its CPU profiles crash Python 3.11 and later. So obskit does the work of its
``start()`` on a separate thread. Only the main thread can set a handler of SIGALRM: obskit's is set at once, and calls
the agent's later.
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
_SETTLING = 1.0  # seconds to wait in a forked child, as it may call exec at once

_BUILTIN = "profiler='builtin' uploads to Cloud Profiler without it"
_NOT_COMPILING = f"Google's profiling agent does not compile on Python 3.13 and later: {_BUILTIN}"
_NOT_INSTALLED = f"Google's profiling agent is missing: pip install 'obskit[google-profiler]'; {_BUILTIN}"
_NO_MODE = "Google's profiling agent is not started: %s, and %s"
_NO_CPU = f"it takes no CPU profiles, which need Linux and crash Python from 3.11 on ({_FORCE_CPU}=true allows them)"
_NO_WALL = "it takes no wall-time profiles, as it is not started on the main thread or SIGALRM is in use"
_ALARM_LOST = "Google's profiling agent takes no wall-time profiles: the application handles SIGALRM itself now"


Sample = Callable[[int, "FrameType | None"], None]


class AgentOptions(NamedTuple):
    """The settings for the agent."""

    service: str
    version: str | None = None
    project: str | None = None


class GoogleAgent:
    """Runs Google's agent in this process and in forked children. No method raises or blocks.

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
        """Start the agent in the background. Wall-time profiles require the main thread, and SIGALRM to be unused."""
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
        """Take no further profiles. The agent's thread cannot be ended; it idles from now on.

        The handler of SIGALRM stays: the next signal of a profile under way would otherwise end the process.
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
        """Start again in a forked child, which lacks its parent's threads."""
        self._lock = threading.Lock()
        self._client = None
        try:
            if self._stop is not None:
                self._launch_soon(after=_SETTLING)
        except RuntimeError:  # no thread can be started any more
            failed("starting Google's profiling agent in a forked child")

    def stats(self) -> dict[str, Any]:
        """Return the ``state`` (``off``, ``starting`` or ``running``), the profiles' ``types``, and ``failures``."""
        return {"state": self._state, "types": list(self._types), "failures": self._failures}

    def _launch_soon(self, after: float) -> None:
        self._state = "starting"
        self._stop = stop = threading.Event()
        threading.Thread(target=self._run, args=(stop, after), name="obskit-google-agent", daemon=True).start()

    def _run(self, stop: threading.Event, after: float) -> None:
        """Launch the agent; retry after temporary failures."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        with quietly():
            while not stop.wait(after) and not self._launched(stop):
                after = backoff.pause()

    def _launched(self, stop: threading.Event) -> bool:
        """Try to launch the agent; return whether that is final."""
        try:
            self._launch(stop)
        except (ImportError, _AlreadyStarted) as error:
            self._failures += 1
            self._state = "off"
            tell(logging.WARNING, "Google's profiling agent cannot start (%s); %s", one_line(error), _BUILTIN)
        except BaseException as error:  # SystemExit as well: this thread runs nothing else
            self._failures += 1
            if self._failures == 1:
                tell(logging.WARNING, "Google's profiling agent cannot start (%s); it is tried again", one_line(error))
            return False
        return True

    def _launch(self, stop: threading.Event) -> None:
        """Do what ``googlecloudprofiler.start`` does. May raise any exception."""
        client = _new_client(self._options, self._types)
        if "WALL" in self._types:
            self._join(client._profilers["WALL"])
        with self._lock:
            if not stop.is_set():
                client.start()
                self._client = client
                self._state = "running"

    def _join(self, profiler: Any) -> None:
        """Make the agent's wall-time sampler use obskit's handler of SIGALRM."""
        profiler.register_handler = lambda: None
        profiler.profile = partial(self._take_wall, profiler.profile)
        self.sample = profiler._handler

    def _take_wall(self, take: Callable[[int], bytes], duration_ns: int) -> bytes:
        """Take a profile, unless its signals would go to a handler of the application."""
        if signal.getsignal(signal.SIGALRM) is _on_alarm:
            return take(duration_ns)
        if not self._alarm_lost:
            self._alarm_lost = True
            tell(logging.WARNING, _ALARM_LOST)
        raise RuntimeError(_ALARM_LOST)


class _AlreadyStarted(Exception):
    """The application has started the agent itself."""


_current: GoogleAgent | None = None


def _types() -> tuple[str, ...]:
    """Return the types of profiles that are safe here, and log the others. For WALL, SIGALRM is handled."""
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
    """Handle SIGALRM; return False if the application handles it, or this is not the main thread."""
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
    """Let the agent take a sample; its exceptions must not reach the interrupted code."""
    agent = _current
    if agent is not None and agent.sample is not None:
        try:
            agent.sample(number, frame)
        except Exception:
            failed("sampling for Google's profiling agent")


def _release_alarm() -> None:
    """Ignore SIGALRM at exit, so that a late signal does not end a process whose handlers are gone."""
    if signal.getsignal(signal.SIGALRM) is _on_alarm:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _new_client(options: AgentOptions, types: tuple[str, ...]) -> Any:
    """Make the agent's client, which finds credentials and project. May raise any exception."""
    discovery_url = _discovery_url()
    with no_fork():
        import googlecloudprofiler
        from googlecloudprofiler import client as agent
    if googlecloudprofiler._started:
        raise _AlreadyStarted("the application has started it already")
    agent.retrieve_gce_metadata = _ask_metadata  # the agent's own query has no timeout
    logger = logging.getLogger("googlecloudprofiler")
    logger.setLevel(logger.level or logging.ERROR)  # as in its start()
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
    """Return the discovery URL for an endpoint other than Google's. Raises ValueError, naming the remedy."""
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
    """Return ``poll``, wrapped so that its requests are not traced."""

    def poll_quietly() -> None:
        with quietly():
            poll()

    return poll_quietly


def _park(client: Any) -> None:
    """Keep the agent's thread, which cannot be ended, from asking for turns and from using one."""
    client._profilers.clear()
    client._create_profile = threading.Event().wait


def _after_fork() -> None:
    if _current is not None:
        _current.after_fork()


on_fork(_after_fork)
