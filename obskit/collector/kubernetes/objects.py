"""Kubernetes' own JSON, as ``kubectl get pods,deployments -A -o json`` prints it, as the few facts that are shown.

Source: the API reference of Kubernetes (Pod v1, Deployment, StatefulSet and DaemonSet of apps/v1).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_MOST_TEXT = 300
_HASH = "pod-template-hash"  # the label by which a ReplicaSet's name is its Deployment's and this


class NotKubernetes(ValueError):
    """The body is not what ``kubectl get -o json`` prints; the text says what is missing."""


class Container(msgspec.Struct, omit_defaults=True):
    """One container of a pod. ``reason`` says why it waits or ended."""

    name: str
    ready: bool = False
    restarts: int = 0
    state: str = ""  # running, waiting or terminated
    reason: str = ""


class Pod(msgspec.Struct, omit_defaults=True, tag="Pod"):
    """One pod; ``unready_since`` is in epoch seconds, 0 where it is ready or has done its work."""

    namespace: str
    name: str
    workload: tuple[str, str]  # kind and name of what it belongs to; ("Pod", its name) for one of its own
    node: str = ""
    phase: str = ""
    unready_since: int = 0
    containers: list[Container] = []

    @property
    def restarts(self) -> int:
        """How often its containers were started again."""
        return sum(container.restarts for container in self.containers)


class Workload(msgspec.Struct, omit_defaults=True, tag="Workload"):
    """A Deployment, StatefulSet or DaemonSet: how many pods it wants, and how many are available."""

    namespace: str
    name: str
    kind: str
    wanted: int = 0
    available: int = 0


Object = Pod | Workload


def read_objects(body: bytes) -> tuple[list[Object], bool]:
    """Return the pods and workloads of a list, or a single one, and whether it is a list; other kinds are left out.

    Raises NotKubernetes.
    """
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotKubernetes(f"not JSON: {error}; send what kubectl get -o json prints") from None
    items, is_list = _items(whole)
    return list(filter(None, map(_read, items))), is_list


def _items(whole: Any) -> tuple[list[dict[str, Any]], bool]:
    kind = whole.get("kind") if isinstance(whole, dict) else None
    if not isinstance(kind, str):
        raise NotKubernetes("no object with a kind; send what kubectl get -o json prints")
    if not kind.endswith("List"):
        return [whole], False
    items = whole.get("items")
    if not isinstance(items, list):
        raise NotKubernetes(f"{kind} without items; send what kubectl get -o json prints")
    of_list = kind.removesuffix("List")  # the items of a PodList have no kind of their own
    return [{"kind": of_list, **item} for item in items if isinstance(item, dict)], True


def _read(item: dict[str, Any]) -> Object | None:
    kind, name = item["kind"], _text(_at(item, "metadata", "name"))
    namespace = _text(_at(item, "metadata", "namespace"))
    if not name:
        return None
    if kind == "Pod":
        return _pod(item, namespace, name)
    return _workload(item, kind, namespace, name) if kind in WORKLOADS else None


def _workload(item: dict[str, Any], kind: str, namespace: str, name: str) -> Workload:
    status = _at(item, "status")
    if kind == "DaemonSet":
        wanted, available = _at(status, "desiredNumberScheduled"), _at(status, "numberAvailable")
    else:
        wanted, available = _at(item, "spec", "replicas"), _at(status, "availableReplicas")
        wanted = 1 if wanted is None else wanted  # the default
    return Workload(namespace, name, kind, _number(wanted), _number(available))


def _pod(item: dict[str, Any], namespace: str, name: str) -> Pod:
    statuses = [one for one in _list(_at(item, "status", "containerStatuses")) if isinstance(one, dict)]
    return Pod(
        namespace,
        name,
        _owner(item, name),
        _text(_at(item, "spec", "nodeName")),
        _text(_at(item, "status", "phase")),
        _unready_since(item),
        [_container(one) for one in statuses],
    )


def _owner(item: dict[str, Any], name: str) -> tuple[str, str]:
    """Return what a pod belongs to; a ReplicaSet's pods belong to its Deployment."""
    owner = next(iter(_list(_at(item, "metadata", "ownerReferences"))), None)
    kind, owner_name = _text(_at(owner, "kind")), _text(_at(owner, "name"))
    if not kind or not owner_name:
        return "Pod", name
    made = _text(_at(item, "metadata", "labels", _HASH))
    if kind == "ReplicaSet" and made and owner_name.endswith(f"-{made}"):
        return "Deployment", owner_name[: -len(made) - 1]
    return kind, owner_name


def _unready_since(item: dict[str, Any]) -> int:
    if _at(item, "status", "phase") == "Succeeded" or _at(item, "metadata", "deletionTimestamp"):
        return 0
    for condition in _list(_at(item, "status", "conditions")):
        if _at(condition, "type") == "Ready":
            return 0 if _at(condition, "status") == "True" else _seconds(_at(condition, "lastTransitionTime"))
    return _seconds(_at(item, "metadata", "creationTimestamp"))


def _container(status: dict[str, Any]) -> Container:
    states = _at(status, "state")
    state = next((known for known in ("waiting", "terminated", "running") if _at(states, known) is not None), "")
    return Container(
        _text(status.get("name")),
        status.get("ready") is True,
        _number(status.get("restartCount")),
        state,
        _text(_at(states, state, "reason")),
    )


def _at(value: Any, *path: str) -> Any:
    """Return what is at a path of names; None where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return min(value, 2**31) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _seconds(value: Any) -> int:
    try:
        return max(0, int(datetime.fromisoformat(_text(value).replace("Z", "+00:00")).timestamp()))
    except (ValueError, OverflowError):
        return 0
