"""The flags of ``obskit collector``, and their values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from obskit.collector.options import Options

_SIZES = {"K": 2**10, "M": 2**20, "G": 2**30}
_TIMES = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
TOKEN = "OBSKIT_COLLECTOR_TOKEN"
_FOLDER, _FILE = "obskit", "collector.db"


class UsageError(Exception):
    """A flag cannot be used: one line that names it and the remedy."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags. Values stay text, and are checked later, so that errors name the remedy in one line."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", default="9411", help="port to listen on, 0 for a free one (default: %(default)s)")
    parser.add_argument("--grpc-port", default="", metavar="PORT", help="also accept spans over gRPC on this port")
    parser.add_argument("--kafka", default="", metavar="BROKERS", help="also read spans from Kafka: HOST:PORT[/TOPIC]")
    parser.add_argument("--storage", help="memory, sqlite:///PATH or zipkin+http://HOST:PORT (default: a file)")
    parser.add_argument("--max-spans", default="500000", help="delete the oldest traces beyond (default: %(default)s)")
    parser.add_argument("--max-bytes", default="1G", help="the same in bytes, or K, M, G (default: %(default)s)")
    parser.add_argument("--max-line-bytes", default="400M", help="the same of log lines (default: %(default)s)")
    parser.add_argument("--max-profile-bytes", default="100M", help="the same of profiles (default: %(default)s)")
    parser.add_argument("--max-age", default="", metavar="AGE", help="delete all that is older: 90s, 15m, 12h or 7d")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="another Host to accept")
    parser.add_argument("--forward", action="append", default=[], metavar="URL", help="pass spans on to this exporter")
    parser.add_argument("--backup", metavar="PATH", help="copy the --storage file, even one in use, and exit")
    parser.add_argument("--token", default=os.environ.get(TOKEN, ""), help=f"the token of requests; or {TOKEN}")
    parser.add_argument("--open", action="store_true", help="accept anyone who can reach a --host beyond loopback")
    _add_zipkin_options(parser)


def _add_zipkin_options(parser: argparse.ArgumentParser) -> None:
    """Add options of Zipkin's server. Their default is the variable that Zipkin reads."""
    environ = os.environ
    is_on = {"true": True, "false": False}
    strict = is_on.get(environ.get("STRICT_TRACE_ID", "").lower(), True)
    searched = is_on.get(environ.get("SEARCH_ENABLED", "").lower(), True)
    rate, keys = environ.get("COLLECTOR_SAMPLE_RATE", "1"), environ.get("AUTOCOMPLETE_KEYS", "")
    parser.add_argument("--sample-rate", default=rate, help="the part of the traces to keep (default: %(default)s)")
    parser.add_argument("--autocomplete-keys", default=keys, metavar="A,B", help="tags whose values are listed")
    parser.add_argument("--lenient-trace-ids", action="store_true", default=not strict, help="compare 64 bits of ids")
    parser.add_argument("--no-search", action="store_true", default=not searched, help="find traces by their ids alone")


def options(args: argparse.Namespace) -> Options:
    """Return the collector's options from the flags. Raises UsageError."""
    from obskit.collector.options import Options

    return Options(
        sample_rate=_rate("--sample-rate", args.sample_rate),
        strict_trace_id=not args.lenient_trace_ids,
        search_enabled=not args.no_search,
        autocomplete_keys=tuple(filter(None, (key.strip() for key in args.autocomplete_keys.split(",")))),
        max_profile_bytes=size("--max-profile-bytes", args.max_profile_bytes),
        max_line_bytes=size("--max-line-bytes", args.max_line_bytes),
        token=args.token or None,
    )


def _rate(flag: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"{flag}: got {text!r}; give a number from 0 to 1")
    return rate


def whole_number(flag: str, text: str, smallest: int, largest: int) -> int:
    """Return the whole number of a flag. Raises UsageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20) or not smallest <= int(text) <= largest:
        raise UsageError(f"{flag}: got {text!r}; give a whole number from {smallest} to {largest}")
    return int(text)


def size(flag: str, text: str) -> int:
    """Return a flag's number of bytes: ``400M``. Raises UsageError."""
    return _scaled(flag, text, _SIZES)


def seconds(flag: str, text: str) -> int:
    """Return a flag's time in seconds: ``12h``. Raises UsageError."""
    return _scaled(flag, text, _TIMES)


def _scaled(flag: str, text: str, units: Mapping[str, int]) -> int:
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "")
    if not (number.isascii() and number.isdecimal() and len(number) < 20 and int(number) > 0):
        raise UsageError(f"{flag}: got {text!r}; give a whole number above 0, with one of {', '.join(units)} or none")
    return int(number) * units.get(unit, 1)


def default_storage(environ: Mapping[str, str]) -> str:
    """Return the URL of the file in the user's folder for state; create the folder. Raises OSError if that fails.

    Source: the XDG base directory specification, 0.8 (``XDG_STATE_HOME``, else ``~/.local/state``).
    """
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the specification ignores relative paths
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    if not os.path.isabs(state):
        raise FileNotFoundError(2, "this user has no home folder", state)
    folder = os.path.join(state, _FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "no permission to write", folder)
    return f"sqlite:///{os.path.join(folder, _FILE)}"
