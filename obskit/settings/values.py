"""Readers of options' values, given as arguments or as text. Each raises ValueError saying what the value must be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from obskit.base.patterns import pattern
from obskit.instrumentation.client import HOST
from obskit.propagation.propagator import FORMATS
from obskit.settings.errors import Read

if TYPE_CHECKING:
    from obskit.export.destinations import Destination

_TRUE = frozenset(["1", "true", "yes", "on"])
_FALSE = frozenset(["0", "false", "no", "off"])

# A comma between exporters, not one inside a URL.
_BETWEEN = pattern(r",(?=\s*(?:[a-z]+://|otel:|(?:console|none)\s*(?:,|$)))")


def read_boolean(value: Any) -> bool:
    """Read ``true``, ``yes``, ``on``, ``1`` or their opposites, in any case."""
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return text in _TRUE


def read_text(value: Any) -> str | None:
    """Read text, stripped; None stays None."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be text that is not blank")
    return value.strip() if value else None


def read_service(value: Any) -> str:
    """Read text that is required."""
    text = read_text(value)
    if text is None:
        raise ValueError("must be text that is not blank")
    return text


def number_from(lowest: float, highest: float, kind: type = float) -> Read:
    """Return a reader of numbers of type ``kind`` within a range, both ends included."""

    def read(value: Any) -> Any:
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        truncated = isinstance(value, float) and number != value
        if number is None or truncated or isinstance(value, bool) or not lowest <= number <= highest:
            raise ValueError(f"must be a{'n integer' if kind is int else ' number'} from {lowest} to {highest}")
        return number

    return read


def read_names(value: Any) -> tuple[str, ...]:
    """Read names, from a list or with commas between them."""
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, bytes) or not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise ValueError("must be a list of names, or text with commas between them")
    return tuple(item.strip() for item in items if item.strip())


def read_formats(value: Any) -> tuple[str, ...]:
    """Read names of propagation formats."""
    names = read_names(value)
    if not set(names) <= FORMATS.keys():
        raise ValueError(f"must be a list of {', '.join(FORMATS)}")
    return names


def read_hosts(value: Any) -> tuple[str, ...]:
    """Read hosts and ports, in the form of ``propagate_to``."""
    names = read_names(value)
    if not all(map(HOST.fullmatch, names)):
        raise ValueError("must be a list of hosts such as orders, *.internal, 10.0.0.7:8080, [::1]: no scheme, no path")
    return names


def read_trust(value: Any) -> str | tuple[str, ...]:
    """Read ``always``, ``never``, or networks."""
    if value in ("always", "never"):
        return str(value)
    import ipaddress  # imported here, as most programs do not need it

    try:
        names = read_names(value)
        for name in names:
            ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ValueError("must be always, never, or a list of networks such as 10.0.0.0/8, ::1") from None
    return names


def read_log_mode(value: Any) -> str:
    """Read the form of log lines; ``cloud`` needs its package."""
    mode: str = _log_form(value)
    if mode == "cloud" and not _installed("google-cloud-logging"):
        raise ValueError("needs google-cloud-logging: pip install 'obskit[gcp]'")
    return mode


def one_of(*choices: str) -> Read:
    """Return a reader of one of ``choices``."""

    def read(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else value
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(text)

    return read


_log_form = one_of("json", "console", "cloud", "inherit", "off")


def read_folder(value: Any) -> str | None:
    """Read the path of a folder, which need not exist."""
    return read_text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def read_request_log(value: Any) -> bool | None:
    """Read a boolean; return None for ``auto``, which lets the platform decide."""
    return None if value == "auto" else read_boolean(value)


def _installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def read_integrations(value: Any) -> tuple[str, ...] | None:
    """Read names of integrations."""
    from obskit.integrations import MODULES, others

    if value is None:
        return None
    names = read_names(value)
    if not MODULES.keys() >= set(names):
        known = [*MODULES, *others()]
        unknown = sorted(set(names).difference(known))
        if unknown:
            raise ValueError(f"names {', '.join(unknown)}, which is not one of {', '.join(sorted(known))}")
    return names


def read_disable(value: Any) -> tuple[str, ...]:
    """Read names of integrations; None means none."""
    return read_integrations(value) or ()


def read_collector(value: Any) -> str | None:
    """Read the URL of a collector, without a path."""
    from urllib.parse import urlsplit

    text = read_text(value)
    if text is None:
        return None
    try:
        (destination,) = read_exporters(text)
        parts = urlsplit(text)
        is_bare = parts.scheme in ("http", "https") and parts.path in ("", "/") and not parts.query + parts.fragment
    except ValueError:
        is_bare = False
    if not is_bare or destination.plan is None:
        raise ValueError("must be the http(s):// URL of an obskit collector, without a path")
    return text.rstrip("/")


def read_exporters(value: Any) -> tuple[Destination, ...]:
    """Read one or several destinations of spans, each a URL or an OpenTelemetry exporter."""
    from obskit.export.destinations import FORMS, parse

    if isinstance(value, str):
        value = [item.strip(", ") for item in _BETWEEN.split(value)]
    targets = value if isinstance(value, list | tuple) else [value]
    try:
        return tuple(map(parse, targets))
    except ValueError as error:
        raise ValueError(f"must be {FORMS}, or a list of them ({error})") from None


def read_sample_rules(value: Any) -> Any:
    """Return rules of sampling, which most programs have none of: what reads and applies them is imported for some."""
    from obskit.tracing.sampling.rules import read_rules

    return read_rules(value)
