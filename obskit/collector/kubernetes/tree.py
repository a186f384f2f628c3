"""Clusters, namespaces, workloads, pods and containers as a tree, with what is wrong below rolled up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from obskit.collector.kubernetes.health import trouble_of_pod, trouble_of_workload
from obskit.collector.kubernetes.objects import Pod, Workload
from obskit.collector.kubernetes.store import Known

SILENT_AFTER = 300  # seconds


@dataclass
class Node:
    """One thing of a cluster. ``trouble`` is its own, ``unwell`` the number of things with trouble, itself included.

    ``heard`` is in epoch seconds: the latest of it and all below.
    """

    kind: str
    name: str
    trouble: list[str] = field(default_factory=list)
    detail: str = ""
    heard: int = 0
    unwell: int = 0
    children: dict[tuple[str, str], Node] = field(default_factory=dict)

    def child(self, kind: str, name: str) -> Node:
        """Return a child, made if there is none."""
        return self.children.setdefault((kind, name), Node(kind, name))

    def sorted(self) -> list[Node]:
        """Return the children, those with trouble below first, then by name."""
        return sorted(self.children.values(), key=lambda one: (-one.unwell, one.kind, one.name))

    def state(self, now: float) -> str:
        """Return ``bad``, ``well``, or ``silent`` where nothing was heard for five minutes."""
        if now - self.heard > SILENT_AFTER:
            return "silent"
        return "bad" if self.unwell else "well"


def build(known: Iterable[Known], now: float) -> Node:
    """Return the tree of clusters."""
    root = Node("", "")
    for cluster, heard, one in known:
        namespace = root.child("Cluster", cluster or "default").child("Namespace", one.namespace)
        if isinstance(one, Workload):
            _add_workload(namespace, one, heard)
        else:
            _add_pod(namespace, one, heard, now)
    _roll_up(root)
    return root


def _add_workload(namespace: Node, workload: Workload, heard: int) -> None:
    node = namespace.child(workload.kind, workload.name)
    node.heard = max(node.heard, heard)
    node.trouble = trouble_of_workload(workload)
    node.detail = "" if node.trouble else f"{workload.available} of {workload.wanted} available"


def _add_pod(namespace: Node, pod: Pod, heard: int, now: float) -> None:
    kind, name = pod.workload
    parent = namespace if kind == "Pod" else namespace.child(kind, name)
    node = parent.child("Pod", pod.name)
    node.heard, node.trouble = heard, trouble_of_pod(pod, now)
    node.detail = ", ".join(filter(None, [pod.phase, pod.node, f"{pod.restarts} restarts" if pod.restarts else ""]))
    for container in pod.containers:
        below = node.child("Container", container.name)
        below.heard = heard
        below.detail = ", ".join(filter(None, [container.state, container.reason]))


def _roll_up(node: Node) -> None:
    for child in node.children.values():
        _roll_up(child)
        node.unwell += child.unwell
        node.heard = max(node.heard, child.heard)
    node.unwell += bool(node.trouble)
