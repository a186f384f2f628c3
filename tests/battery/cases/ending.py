"""The end of a program, and deadlines: nothing waits longer than it was told to."""

from __future__ import annotations

import signal
import time

from tests.battery.backend import backend, hanging
from tests.battery.lab import PLAIN, Lab, Run, same_outcome
from tests.battery.registry import case

_DEFAULT = {"OBSKIT_EXIT_TIMEOUT": ""}
_EXIT = 2.0  # seconds: what that means
_NOISE = 0.5  # what starting to end and being noticed may take on a busy machine


@case(2, "sigterm-default", "SIGTERM, and the application has no handler", "flushed within 2 s, status -15", peers=True)
def terminated(lab: Lab) -> str:
    with backend() as server, hanging() as dead:
        plain, _ = _terminate(lab, "none", PLAIN)
        run, seconds = _terminate(lab, server.url, lab.side)
        same_outcome(plain, run)
        assert len(server.names) == 40, f"delivered {len(server.names)}/40, status {run.code}"
        assert seconds <= lab.within(_EXIT + _NOISE), f"ended {seconds:.2f} s after the signal"
        stuck, longest = _terminate(lab, dead.url, lab.side)
        same_outcome(plain, stuck)
        assert longest <= lab.within(_EXIT + _NOISE), f"ended {longest:.2f} s after the signal where the receiver hangs"
    return f"delivered 40/40, exit {run.code} in {seconds:.2f} s; {longest:.2f} s where the receiver hangs"


def _terminate(lab: Lab, url: str, side: str) -> tuple[Run, float]:
    """Send SIGTERM after forty spans; return how the program ended, and how long it took."""
    with lab.start("forty_spans", url, "sleep", side=side, OBSKIT_FLUSH_INTERVAL="3600", **_DEFAULT) as process:
        assert process.line(20) == "ready", "the program itself waits for the receiver"
        begin = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        run = process.finish()
        return run, run.ended - begin


@case(12, "exit-hang", "the receiver accepts and never answers", "the exit takes its 2 s at most", peers=True)
def exit_hangs(lab: Lab) -> str:
    with hanging() as server:
        run = lab.compare("forty_spans", server.url, "end", **_DEFAULT)
        assert run.exit_seconds <= lab.within(_EXIT + _NOISE), f"the exit took {run.exit_seconds:.2f} s"
        lab.settled(run, server, 40, 0)
        return f"exit {run.code} in {run.exit_seconds:.2f} s"


@case(14, "flush-deadline", "flush(0.5) while the receiver hangs", "at most 0.6 s, and False", peers=True)
def flush_hangs(lab: Lab) -> str:
    with hanging() as server:
        run = lab.compare("forty_spans", server.url, "flush", **_DEFAULT)
        took, answer = run.notes["took"], run.notes["answer"]
        assert took <= lab.within(0.6), f"flush(0.5) took {took:.2f} s and returned {answer}"
        assert answer is False, f"flush(0.5) took {took:.2f} s and returned {answer}"
        return f"flush(0.5) took {took:.2f} s, returned {answer}"


@case(43, "futures", "spans and delivery after concurrent.futures has closed its pools", "delivered, no traceback")
def after_the_pools(lab: Lab) -> str:
    figures = [_late(lab, "http://"), _late(lab, "otel:zipkin_json")]
    return f"{figures[0]}; through OpenTelemetry's exporter too: {figures[1]}"


def _late(lab: Lab, exporter: str) -> str:
    with backend() as server:
        options = {"OTEL_EXPORTER_ZIPKIN_ENDPOINT": server.url, "OBSKIT_FLUSH_INTERVAL": "3600"}
        run = lab.compare("after_the_pools", server.url if exporter == "http://" else exporter, **options)
        assert "Traceback" not in run.log, run.log
        return lab.settled(run, server, 21)


@case(
    63,
    "exit-callbacks",
    "exit callbacks that were registered before init(), and run after obskit's",
    "what they produce is delivered",
)
def early_exit_callbacks(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("early_exit_callbacks", server.url, OBSKIT_FLUSH_INTERVAL="3600")
        assert server.names == ["early", "late", "late", "late"], f"delivered {server.names}"
        return f"delivered 4/4, exit {run.code}"


@case(68, "sigterm-flush", "SIGTERM while an attached span processor flushes without end", "delivered, status -15")
def processor_hangs(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("hanging_processor", server.url, OBSKIT_EXIT_TIMEOUT="0.2")
        assert (run.code, run.err) == (-signal.SIGTERM, ""), f"exit {run.code}: {run.err}"
        assert server.names == ["before the end"], f"delivered {server.names}"
        return f"delivered 1/1, exit {run.code}"


@case(69, "response-open", "an uncaught exception amid the body of a response", "the call's span is delivered")
def response_at_the_end(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("response_at_the_end", server.url, OBSKIT_INTEGRATIONS="http_client")
        assert server.names == ["get"], f"delivered {server.names}"
        return lab.settled(run, server, 1)
