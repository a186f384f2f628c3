"""Lays out a graph of services: callers to the left of callees, with few crossings.

This is Sugiyama's method: calls that close a cycle are left out, each service is one layer after the last of its
callers, and each layer is ordered by the mean position of its neighbours, in several passes forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_SWEEPS = 6

Places = dict[str, tuple[int, float]]


def layout(edges: Sequence[tuple[str, str]]) -> Places:
    """Return for each name its layer and its position there (0 is the top). Layers are centred on the tallest."""
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    below = {name: [child for parent, child in edges if parent == name and child != name] for name in names}
    order = _downward(names, below)
    position = {name: number for number, name in enumerate(order)}
    forward = [(parent, child) for parent, child in edges if position[parent] < position[child]]
    ranks = dict.fromkeys(names, 0)
    for name in order:
        for parent, child in forward:
            if parent == name:
                ranks[child] = max(ranks[child], ranks[name] + 1)
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in order:
        layers[ranks[name]].append(name)
    _untangle(layers, forward)
    tallest = max(map(len, layers), default=0)
    return {
        name: (rank, place + (tallest - len(layer)) / 2)
        for rank, layer in enumerate(layers)
        for place, name in enumerate(layer)
    }


def _downward(names: Iterable[str], below: Mapping[str, list[str]]) -> list[str]:
    """Return the names in an order in which callers come first, as far as cycles allow."""
    called = {child for children in below.values() for child in children}
    finished: list[str] = []
    seen: set[str] = set()
    for root in sorted(names, key=lambda name: name in called):
        waiting = [(root, False)]
        while waiting:
            name, is_done = waiting.pop()
            if is_done:
                finished.append(name)
            elif name not in seen:
                seen.add(name)
                waiting.append((name, True))
                waiting += [(child, False) for child in below[name]]
    return finished[::-1]


def _untangle(layers: list[list[str]], edges: Sequence[tuple[str, str]]) -> None:
    neighbours: dict[str, list[str]] = {name: [] for layer in layers for name in layer}
    for parent, child in edges:
        neighbours[parent].append(child)
        neighbours[child].append(parent)
    for sweep in range(_SWEEPS):
        places = {name: place for layer in layers for place, name in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=lambda name: _middle(name, neighbours, places))
            places.update((name, place) for place, name in enumerate(layer))


def _middle(name: str, neighbours: Mapping[str, list[str]], places: Mapping[str, int]) -> float:
    found = [places[other] for other in neighbours[name]]
    return sum(found) / len(found) if found else places[name]
