"""The outlines of spans: what the links of a trace depend on, as a rule. They are read in a third of the time."""

from __future__ import annotations

import zlib

import msgspec

from obskit.collector.store.blocks import Damaged


class Side(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """One side of a call."""

    service_name: str | None = None


class _Tags(msgspec.Struct, gc=False):
    error: str | None = None


class Outline(msgspec.Struct, rename="camel", gc=False):
    """Some fields of a span."""

    trace_id: str
    id: str
    parent_id: str | None = None
    kind: str | None = None
    timestamp: int = 0
    local_endpoint: Side | None = None
    remote_endpoint: Side | None = None
    tags: _Tags | None = None
    shared: bool = False


_decode = msgspec.json.Decoder(list[Outline]).decode


def unpack_outlines(data: bytes) -> list[Outline]:
    """Return those of the spans of a block's data. Raises Damaged."""
    try:
        return _decode(zlib.decompress(data))
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None
