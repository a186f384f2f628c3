"""Filters: whether a block of spans can contain a text, without reading the block.

A filter is the sorted hashes of all texts in the block: it never denies a text that is there, and confirms about one
in ten million that are not. Files of older releases have Bloom filters.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain
from zlib import crc32

from obskit.zipkin.model import Span

_MARK = b"\x01"  # at the end: the length of a Bloom filter is even
_BETWEEN = "\x1e"
Place = tuple[str, str, str]  # local service, span name, remote service; "" for what a span lacks
_SPREAD = 0x9E3779B1  # of Bloom filters: multiplying by it gives the second position


def token(kind: str, *texts: str) -> int:
    """Return the hash of a text of some kind: ``token("tag", "http.method", "GET")``."""
    return crc32("\0".join((kind, *texts)).encode())


def places_of(spans: Iterable[Span]) -> set[Place]:
    """Return each local service, span name and remote service that come together."""
    endpoints = {(span.local_endpoint, span.name, span.remote_endpoint) for span in spans}  # few, whatever they hold
    return {
        ((local and local.service_name) or "", name or "", (remote and remote.service_name) or "")
        for local, name, remote in endpoints
    }


def tokens_of(spans: Sequence[Span], places: set[Place]) -> set[int]:
    """Return the tokens of everything that searches compare by equality; ``places`` are those of the spans."""
    tags = set(chain.from_iterable([span.tags.items() for span in spans]))
    words = {annotation.value for span in spans if (its := span.annotations) for annotation in its}
    words.update([key for key, _ in tags])
    texts = [f"tag\0{key}\0{value}" for key, value in tags]
    texts += [f"word\0{word}" for word in words]
    for service, name, other in places:
        texts += [f"service\0{service}", f"name\0{name}", f"remote\0{other}"]
        texts += [f"name\0{service}\0{name}", f"remote\0{service}\0{other}"]
    return _tokens(texts)


def _tokens(texts: list[str]) -> set[int]:
    """Return the token of each text. All are encoded at once, unless one contains the separator."""
    encoded = _BETWEEN.join(texts).encode().split(_BETWEEN.encode())
    if len(encoded) != len(texts):
        encoded = [text.encode() for text in texts]
    return set(map(crc32, encoded))


def build(tokens: set[int]) -> bytes:
    """Return the filter of these tokens."""
    return array("I", sorted(tokens)).tobytes() + _MARK


def tokens_in(bits: bytes) -> Sequence[int] | None:
    """Return the tokens of a filter, sorted; None for a small block, which has no filter, and for a Bloom filter."""
    return memoryview(bits)[:-1].cast("I") if len(bits) & 1 else None


def may_hold(bits: bytes, number: int) -> bool:
    """Return False if no text with this token is in the block; True for small blocks, which have no filter yet."""
    if not bits:
        return True
    tokens = tokens_in(bits)
    if tokens is None:
        return _is_in_bloom(bits, number)
    place = bisect_left(tokens, number)
    return place < len(tokens) and tokens[place] == number


def _is_in_bloom(bits: bytes, number: int) -> bool:
    """Return whether both bits of a token are set in a Bloom filter, whose number of bits is a power of two."""
    mask = (len(bits) << 3) - 1
    other = (number * _SPREAD >> 16) & mask
    return bool(bits[(number & mask) >> 3] >> (number & 7) & 1 and bits[other >> 3] >> (other & 7) & 1)
