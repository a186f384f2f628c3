"""``POST /ingest``: a profile as Pyroscope's scripts send it, pprof or folded stacks.

Source: Pyroscope's server API, "Ingestion": the parameters ``name`` (with labels in braces), ``from``, ``until``,
``format`` and ``units``; a body that is the profile, or a form with the field ``profile``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

from obskit.base.pprof import UnreadableProfile, decode
from obskit.collector.intake.log_entries import moment_of
from obskit.collector.intake.zipkin import Rejected, gunzip
from obskit.collector.profiles.stacks import Labels, Stacks, of_pprof, of_samples
from obskit.collector.profiles.store import Kept

MOST_BYTES = 4 * 1024 * 1024
_named = re.compile(r"([^{]*)(?:\{(.*)\})?", re.DOTALL).fullmatch
_labels = re.compile(r'([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",]*))').findall
_type_at_end = re.compile(r"(.+)\.(cpu|wall|heap|itimer|alloc_objects|alloc_space|inuse_objects|inuse_space)").fullmatch
_boundary = re.compile(r'boundary="?([^";]{1,100})"?').search
_GZIP = b"\x1f\x8b"
_MINUTE = 60_000_000


def read_profile(params: Mapping[str, str], content_type: str, body: bytes) -> tuple[Kept, Stacks]:
    """Return a profile, and what is known of it. Raises Rejected."""
    service, kind, labels = _name(params.get("name", ""))
    data = _field(content_type, body) if content_type.startswith("multipart/form-data") else body
    data = gunzip(data) if data[:2] == _GZIP else data
    if data[:2] == _GZIP:
        raise Rejected(400, "the profile is compressed twice")
    if len(data) > MOST_BYTES:
        raise Rejected(413, f"a profile over {MOST_BYTES} bytes; sample for a shorter time")
    first, last = (moment_of(params.get(name, "")) for name in ("from", "until"))
    if params.get("format", "") in {"", "folded", "lines", "groups"} and not _looks_like_pprof(data, content_type):
        stacks = _folded(data, labels)
        return _kept(service, kind or "cpu", params.get("units") or "samples", first, last), stacks
    try:
        profile = decode(data)
    except UnreadableProfile as error:
        raise Rejected(400, str(error)) from None
    value_type = profile.sample_types[-1]
    begun = profile.time_ns // 1000 or first
    ended = begun + profile.duration_ns // 1000 if begun and profile.duration_ns else last
    return _kept(service, value_type.kind, value_type.unit, begun, ended), of_pprof(profile, labels)


def _kept(service: str, kind: str, unit: str, first: int, last: int) -> Kept:
    now = int(time.time() * 1_000_000)
    return Kept(service, kind or "unknown", unit, first or (last or now) - _MINUTE, last or first or now)


def _name(text: str) -> tuple[str, str, Labels]:
    """Service, type and labels from ``orders.cpu{route="/a",env=prod}``."""
    found = _named(text.strip())
    service = found[1].strip() if found else ""
    if not service:
        raise Rejected(400, f"name is {text[:40]!r}; give the service, as in name=orders")
    typed = _type_at_end(service)
    labels = tuple((key, quoted or plain.strip()) for key, quoted, plain in _labels(found[2] or "")) if found else ()
    return (typed[1], typed[2], labels) if typed else (service, "", labels)


def _field(content_type: str, body: bytes) -> bytes:
    """Return the field ``profile`` of a form. Raises Rejected."""
    found = _boundary(content_type)
    for part in body.split(b"--" + found[1].encode())[1:] if found else ():
        head, separator, content = part.partition(b"\r\n\r\n")
        if separator and b'name="profile"' in head:
            return content.removesuffix(b"\r\n")
    raise Rejected(400, "the form has no field 'profile'")


def _looks_like_pprof(data: bytes, content_type: str) -> bool:
    return content_type.startswith("multipart/form-data") or data[:1] == b"\x0a"


def _folded(data: bytes, labels: Labels) -> Stacks:
    """Return stacks as flamegraph.pl reads them: ``main;work;parse 12``. Raises Rejected."""
    return of_samples(
        ([(frame, "", 0) for frame in stack.split(";")], value, labels)
        for stack, value in _folded_lines(data.decode("utf-8", "replace"))
    )


def _folded_lines(text: str) -> Iterator[tuple[str, int]]:
    for line in filter(str.strip, text.splitlines()):
        stack, _, value = line.rpartition(" ")
        if not (stack and value.isascii() and value.isdecimal() and len(value) < 19):
            raise Rejected(400, f"{line[:60]!r} is no folded stack, such as: main;work 12; for pprof add format=pprof")
        yield stack, int(value)
