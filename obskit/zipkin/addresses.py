"""IP addresses in the text form Zipkin stores.

Source: ``zipkin2.Endpoint`` (openzipkin/zipkin 3.6.1). The standard ``ipaddress`` module cannot be used: it refuses
leading zeros, which the reference keeps, and compresses IPv6 by another rule (RFC 5952).
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Literal

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01][0-9][0-9]|[0-9]{1,2})"
_is_ipv4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch
_embedded_ipv4 = re.compile(r"::(?:[fF0]{4}:)?([0-9.]+)").fullmatch
_is_hex = re.compile(r"[0-9a-fA-F]+").fullmatch
_GROUPS = 8
_LARGEST_GROUP = 0xFFFF


def parse_ip(text: str) -> tuple[Literal["ipv4", "ipv6"], str] | None:
    """Return the family and normal form of an address, or None if it is not one.

    IPv4 is kept as written. ``::1.2.3.4`` and ``::ffff:1.2.3.4`` count as IPv4; other dotted tails are refused.
    """
    if "." in text:
        embedded = _embedded_ipv4(text)
        ipv4 = embedded[1] if embedded else text
        return ("ipv4", ipv4) if _is_ipv4(ipv4) else None
    groups = _parse_ipv6(text)
    return ("ipv6", write_ipv6(groups)) if groups else None


def write_ipv6(groups: list[int]) -> str:
    """Return eight 16-bit groups as text, lower-case, the first longest inner run of zeros written as ``::``.

    A run that reaches the end is shortened only if there is no other, as in the reference.
    """
    start, length = _zero_run(groups)
    if not length:
        return _join(groups)
    return f"{_join(groups[:start])}::{_join(groups[start + length :])}"


def _join(groups: list[int]) -> str:
    return ":".join(f"{group:x}" for group in groups)


def _zero_run(groups: list[int]) -> tuple[int, int]:
    """Return start and length of the run of zero groups to shorten; the length is 0 if there is none."""
    inner, trailing, position = (0, 0), (0, 0), 0
    for is_zero, run in groupby(groups, key=lambda group: group == 0):
        length = len(list(run))
        if is_zero and position + length == _GROUPS:
            trailing = (position, length)
        elif is_zero and length > inner[1]:
            inner = (position, length)
        position += length
    return inner if inner[1] else trailing


def _parse_ipv6(text: str) -> list[int] | None:
    """Return eight groups, or None if the text is not an IPv6 address. A group may have superfluous zeros."""
    if text.count("::") > 1 or ":::" in text:
        return None
    head, skip, tail = text.partition("::")
    left, right = _parse_groups(head), _parse_groups(tail)
    if left is None or right is None:
        return None
    missing = _GROUPS - len(left) - len(right)
    if missing < 0 or bool(skip) != bool(missing):  # `::` stands for at least one group
        return None
    return left + [0] * missing + right


def _parse_groups(text: str) -> list[int] | None:
    """Return the groups of one side of ``::``, which may be empty; None if they are not hex or too large."""
    if not text:
        return []
    parts = text.split(":", _GROUPS)
    if not all(map(_is_hex, parts)):
        return None
    groups = [int(part, 16) for part in parts]
    return groups if max(groups) <= _LARGEST_GROUP else None
