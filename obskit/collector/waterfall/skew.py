"""Clocks of different machines, made to agree as far as the calls between them tell.

A server's half that lies outside its client's half cannot be true: the server's clock is elsewhere. It is moved into
the middle of the client's half, as Zipkin's own interface does (``clockSkew.js`` of zipkin-lens 3.6.1), and with it
what ran in the same process below it.
"""

from __future__ import annotations

from collections.abc import Iterable

from obskit.collector.waterfall.nodes import Node
from obskit.zipkin.model import Endpoint


def correct(nodes: Iterable[Node]) -> None:
    """Move the nodes whose clock was elsewhere, and note by how much. Parents come before children."""
    for node in nodes:
        parent = node.parent
        if parent is None or not node.start:
            continue
        node.shift = parent.shift if _same_clock(parent, node) else _offset(parent, node)
        node.start += node.shift
    for node in nodes:
        if len(node.children) > 1:
            node.children.sort(key=lambda child: child.start)


def _same_clock(one: Node, other: Node) -> bool:
    """Return True for spans of one process or one machine."""
    if other.span.shared:  # the halves of a call may be of services with one name
        return _same_address(one.span.local_endpoint, other.span.local_endpoint)
    return one.service == other.service or _same_address(one.span.local_endpoint, other.span.local_endpoint)


def _same_address(one: Endpoint | None, other: Endpoint | None) -> bool:
    return bool(one and other and ((one.ipv4 and one.ipv4 == other.ipv4) or (one.ipv6 and one.ipv6 == other.ipv6)))


def _offset(client: Node, server: Node) -> int:
    """Return what is to be added to the start of a server's half; 0 when it can be true as it is."""
    if client.span.kind != "CLIENT" or server.span.kind != "SERVER" or not (client.start and client.duration):
        return 0
    inside = client.start <= server.start and server.end <= client.end
    outlasts = server.duration > client.duration  # the client gave up before the server did
    if inside or (outlasts and server.start >= client.start):
        return 0
    return client.start + max((client.duration - server.duration) // 2, 0) - server.start
