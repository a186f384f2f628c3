"""``obskit demo``: runs the collector and five example services that call each other, under a little load."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from importlib.util import find_spec
from itertools import cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from obskit.cli.demo_services import Service
    from obskit.cli.demo_traces import Trace

_FAILED = 1
_ROUNDS = 2
_SQLITE = "opentelemetry-instrumentation-sqlite3"  # whose module is not called as the package is
_NEEDED = ("bottle", "django", "flask", "httpx", "requests", "starlette", "uvicorn", _SQLITE)
_PAUSE = 1.0  # seconds between two orders


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("demo", help="run the collector and five example services, and show a trace")
    parser.add_argument("--once", action="store_true", help="end after the first trace is shown")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo until it is done, Ctrl-C or SIGTERM; return 0, or 1 if something failed or was interrupted."""
    missing = [name for name in _NEEDED if not _is_installed(name)]
    if missing:
        return _fail(f"not installed: {', '.join(missing)}; run: pip install 'obskit[demo]'")
    from obskit.cli.demo_services import DemoError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        _demo(args.once, args.json)
    except KeyboardInterrupt:
        return _fail("stopped before it was done") if args.once else 0
    except DemoError as error:
        return _fail(str(error))
    return 0


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name.replace("-", ".")) is not None
    except ImportError:  # nor is the package that it is in
        return False


def _demo(once: bool, as_json: bool) -> None:
    from obskit.cli import demo_services, demo_traces
    from obskit.collector.server import CollectorServer

    with CollectorServer() as collector, demo_services.running(collector.url) as services:
        dishes = [*demo_traces.ORDERS] * _ROUNDS
        expected = sum((demo_traces.order(services, dish) for dish in dishes), Counter[str]())
        traces = demo_traces.await_traces(collector.url, len(dishes), expected)
        summary = {
            "requests": len(dishes),
            "traces": len(traces),
            "spans": sum(map(len, traces)),
            "services": demo_traces.services(collector.url),
            "edges": demo_traces.edges(traces),
            "collector": collector.url,
        }
        print(json.dumps(summary) if as_json else _text(summary, traces), flush=True)
        if not once:
            _keep_ordering(services, quiet=as_json)


def _text(summary: dict[str, Any], traces: list[Trace]) -> str:
    from obskit.cli.demo_traces import longest, tree

    collector = summary["collector"]
    calls = ", ".join(f"{caller} -> {called}" for caller, called in [("client", "a"), *summary["edges"]])
    by_time = sorted(traces, key=lambda trace: longest(trace).duration or 0)
    slowest = by_time[-1]
    quickest = next(trace for trace in by_time if len(trace) == len(slowest))  # not one that failed soon
    trace, beside, part = slowest[0].trace_id, quickest[0].trace_id, longest(slowest, leaf=True).id
    return (
        f"{summary['requests']} orders made {summary['traces']} traces of {summary['spans']} spans: {calls}\n"
        f"\n{tree(max(traces, key=len))}\n"
        f"\nall of it: {collector}"
        f"\n\nWhich request was slowest, and why?\n  {collector}/traces/{trace}?span={part}"
        f"\n  beside the quickest: {collector}/compare/{beside}/{trace}"
        f"\nWhy do some orders fail?\n  {collector}/logs?service=c&severity=error"
        f"\nWhich line keeps the kitchen, service b, busy?\n  {collector}/profiles?service=b&type=cpu"
    )


def _keep_ordering(services: dict[str, Service], quiet: bool) -> None:
    from obskit.cli.demo_traces import ORDERS, order

    if not quiet:
        print(
            f"every {_PAUSE:.0f} s another order; try http://127.0.0.1:{services['a'].port}/order/pasta; Ctrl-C ends",
            flush=True,
        )
    for dish in cycle(ORDERS):
        time.sleep(_PAUSE)
        order(services, dish)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise on the first Ctrl-C only: a second would interrupt the clean-up, which has a time limit of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(message: str) -> int:
    print(f"obskit demo: {message}", file=sys.stderr)
    return _FAILED
