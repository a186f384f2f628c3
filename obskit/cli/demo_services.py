"""Starts the example services for the demo, and stops them with it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep
from typing import IO

SERVICES = {"a": "wsgi", "b": "wsgi", "c": "asgi", "d": "wsgi", "e": "tcp"}
"""The modules of ``obskit.examples`` (their names are the services'), each with the interface of its ``app``."""

_START_TIMEOUT = 60.0  # seconds, for all of them together
_STOP_TIMEOUT = 3.0
_PROBE_TIMEOUT = 1.0
_LOOK = 0.05
_NOT_RECORDED = {"X-B3-Sampled": "0"}
_PROFILED = {"OBSKIT_PROFILER_DURATION": "2", "OBSKIT_PROFILER_INTERVAL": "2"}  # seconds: always sampling
_SHOWN = 2000  # bytes of a failed service's output


class DemoError(Exception):
    """The demo failed; the message is for its user."""


class Service:
    """A running example service: name, port on 127.0.0.1, process, and the file with its output."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.name = name
        self.port = port
        self.process = process
        self._log = log

    def check(self) -> None:
        """Raise DemoError if the process has ended."""
        status = self.process.poll()
        if status is not None:
            raise DemoError(f"service {self.name} ended with status {status}; {self.output()}")

    def output(self) -> str:
        """Return the end of the service's output, for a message."""
        log = self._log.fileno()  # the file position is shared with the service: read without moving it
        text = os.pread(log, _SHOWN, max(0, os.fstat(log).st_size - _SHOWN)).decode(errors="replace").strip()
        return f"the output of {self.name} ends:\n{text}" if text else f"{self.name} printed nothing"

    def get(self, path: str, headers: dict[str, str], timeout: float = 10.0) -> int:
        """Return the status that the service answers a GET with. Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def probe(self) -> None:
        """Return when the service answers, with whatever. Raises OSError or HTTPException."""
        if SERVICES[self.name] != "tcp":
            self.get("/", _NOT_RECORDED, timeout=_PROBE_TIMEOUT)
            return
        with socket.create_connection(("127.0.0.1", self.port), _PROBE_TIMEOUT) as connection:
            connection.sendall(b"\n")
            connection.recv(1)


@contextmanager
def running(collector: str, exporter: str = "") -> Iterator[dict[str, Service]]:
    """Run the services for the length of the block; they report to ``collector`` (a URL), and all are ready.

    Their spans also go to ``exporter``, if one is given.

    Raises DemoError, with the service's output, if one does not start.
    """
    with ExitStack() as stack:
        # All ports are known before the first service starts, and no other program can take them in between.
        listeners = {name: stack.enter_context(_listener()) for name in SERVICES}
        environment = _environment(collector, exporter, {name: one.getsockname()[1] for name, one in listeners.items()})
        services = {}
        for name, listener in listeners.items():
            log = stack.enter_context(tempfile.TemporaryFile())
            services[name] = _start(name, listener, environment, log)
            stack.callback(_stop, services[name].process)
        deadline = monotonic() + _START_TIMEOUT
        for service in services.values():
            _await(service, deadline)
        yield services


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def _environment(collector: str, exporter: str, ports: dict[str, int]) -> dict[str, str]:
    """Return the environment without the variables that would change the demo: obskit's settings, and proxies."""
    foreign = {
        name
        for name in os.environ
        if name.upper().startswith(("OBSKIT_", "OTEL_")) or name.upper().endswith("_PROXY") or name == "PORT"
    }
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    schemes = {name: "tcp" if kind == "tcp" else "http" for name, kind in SERVICES.items()}
    addresses = {f"{name.upper()}_URL": f"{schemes[name]}://127.0.0.1:{port}" for name, port in ports.items()}
    also = {"OBSKIT_EXPORTER": exporter} if exporter else {}
    return {**kept, **addresses, "OBSKIT_COLLECTOR": collector, **also, **_PROFILED}


def _start(name: str, listener: socket.socket, environment: dict[str, str], log: IO[bytes]) -> Service:
    port, descriptor = listener.getsockname()[1], listener.fileno()
    with listener:  # close our copy of the socket, so that the port of a dead service refuses connections
        process = subprocess.Popen(
            [sys.executable, "-m", "obskit.cli.demo_child", f"obskit.examples.{name}", SERVICES[name], str(descriptor)],
            cwd="/",  # `-m` puts the working directory first on sys.path; the caller's could shadow libraries
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C goes to the demo alone, which then stops them
        )
    return Service(name, port, process, log)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(service: Service, deadline: float) -> None:
    """Wait until the service answers."""
    while True:
        service.check()
        try:
            service.probe()
        except (OSError, http.client.HTTPException):
            if monotonic() > deadline:
                message = f"service {service.name} did not answer within {_START_TIMEOUT:.0f} s; {service.output()}"
                raise DemoError(message) from None
            sleep(_LOOK)
        else:
            return
