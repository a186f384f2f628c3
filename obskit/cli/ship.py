"""``COMMAND | obskit ship``: copies standard input to standard output unchanged, and sends its lines to a collector."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from obskit.collector.intake.text_lines import Joiner, severity_in, without_escapes

if TYPE_CHECKING:
    import argparse

    from obskit.export.delivery.pipeline import Pipeline

_BAD_USAGE = 2
_CHUNK = 65536
_LONGEST = 256 * 1024  # bytes; a longer line is sent in parts
_QUIET = 0.3  # seconds without input after which a text entry is complete
_END = 5.0  # seconds at the end for sending the last lines
_WHERE = "http://127.0.0.1:9411"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    where = os.environ.get("OBSKIT_COLLECTOR") or _WHERE
    usage = "COMMAND | obskit ship --service NAME\n       obskit ship --profiles FOLDER"
    parser = subparsers.add_parser("ship", help="send a program's output to a collector, line by line", usage=usage)
    parser.add_argument("--service", default="", help="the service's name (default: from the lines)")
    parser.add_argument("--profiles", metavar="FOLDER", help="send the profiles of a folder (*.pprof.gz) instead")
    parser.add_argument("--collector", default=where, metavar="URL", help=f"the collector (default: {_WHERE})")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Copy standard input until it ends; return 0, or 2 for bad usage. A closed output ends it, as it does ``cat``."""
    from obskit.settings.values import read_collector

    try:
        url = read_collector(args.collector) or _WHERE
    except ValueError as error:
        print(f"obskit ship: --collector {error}: got {args.collector!r}", file=sys.stderr)
        return _BAD_USAGE
    if args.profiles is not None:
        from obskit.cli.ship_profiles import send_profiles

        return send_profiles(args.profiles, url, args.service)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the program, whose last output is still to come
    pipeline = _pipeline(url, args.service)
    try:
        _pass_on(pipeline)
    except BrokenPipeError:
        _finish(pipeline)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    _finish(pipeline)
    return 0


def _pipeline(url: str, service: str) -> Pipeline:
    from obskit.export.delivery.pipeline import Limits, Pipeline
    from obskit.logs.shipping import LineExporter

    limits = Limits(capacity=100_000, batch_size=1000, interval=0.5, timeout=10.0)
    return Pipeline(url, lambda: LineExporter(url, service), limits, "log lines", weigh=len)


def _pass_on(pipeline: Pipeline) -> None:
    lines = _Lines()
    while True:
        readable = select.select([0], [], [], _QUIET)[0]
        data = os.read(0, _CHUNK) if readable else b""
        _write(data)
        for line in lines.add(data) if data else lines.rest(at_end=bool(readable)):
            pipeline.offer(line)
        if readable and not data:
            return


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _finish(pipeline: Pipeline) -> None:
    """Send the lines that wait, and report those that could not be sent."""
    pipeline.close(time.monotonic() + _END)
    ledger = pipeline.stats()
    missing = ledger["produced"] - ledger["delivered"]
    if missing:
        print(f"obskit ship: {missing} of {ledger['produced']} lines were not delivered", file=sys.stderr)


class _Lines:
    """Splits output into lines in the collector's format: JSON unchanged, text as JSON with its time."""

    def __init__(self) -> None:
        self._begun = b""
        self._text = Joiner()

    def add(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that ``data`` completes."""
        *whole, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > _LONGEST:
            whole, self._begun = [*whole, self._begun], b""
        for line in whole:
            if line.lstrip()[:1] == b"{":
                yield from self._complete(self._text.rest())
                yield line
            else:
                yield from self._complete(self._text.add(_plain(line)))

    def rest(self, *, at_end: bool) -> Iterator[bytes]:
        """Yield the text that waited for further lines, and at the end an unterminated line."""
        if at_end and self._begun:
            yield from self.add(b"\n")
        yield from self._complete(self._text.rest())

    @staticmethod
    def _complete(text: str | None) -> Iterator[bytes]:
        from obskit.logs import insert_ids

        if text:
            named = {"severity": severity_in(text), "message": text, "time": time.time()}
            yield json.dumps({**named, "insertId": insert_ids.new()}).encode()


def _plain(line: bytes) -> str:
    return without_escapes(line.decode("utf-8", "replace").rstrip("\r"))
