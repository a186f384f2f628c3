"""What a cluster says of itself: read as kubectl prints it, kept, judged, and shown as a tree."""

from __future__ import annotations

import gzip
import json

import pytest

from obskit.collector.kubernetes import store as store_module
from obskit.collector.kubernetes.health import trouble_of_pod
from obskit.collector.kubernetes.objects import Container, NotKubernetes, Pod, Workload, read_objects
from obskit.collector.kubernetes.store import KubernetesStore
from obskit.collector.kubernetes.tree import build
from obskit.collector.store.database import Database

from .test_pages import NASTY, outline

NOW = 1_764_000_000
PATH = "/api/obskit/v1/kubernetes"


def pod(name="orders-6d4b75cb6d-hq2zx", *, namespace="shop", ready=True, restarts=0, state=None, **metadata):
    """A pod as `kubectl get pod -o json` of Kubernetes 1.34 shows it, without what is not read."""
    replica_set = {"kind": "ReplicaSet", "name": "orders-6d4b75cb6d", "controller": True}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2025-11-24T15:00:00Z"}
    state = state or {"running": {"startedAt": "2025-11-24T14:00:05Z"}}
    status = {"name": "app", "ready": ready, "restartCount": restarts, "state": state}
    conditions = [{"type": "Initialized", "status": "True"}, condition]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"pod-template-hash": "6d4b75cb6d"},
            "ownerReferences": [replica_set], "creationTimestamp": "2025-11-24T14:00:00Z", **metadata,
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "app"}]},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": [status]},
    }  # fmt: skip


def deployment(wanted=2, available=2):
    status = {"replicas": wanted, "availableReplicas": available} if available else {"replicas": wanted}
    meta = {"name": "orders", "namespace": "shop"}
    return {"kind": "Deployment", "metadata": meta, "spec": {"replicas": wanted}, "status": status}


def listed(*items):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()


CRASHING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}


def test_a_list_of_kubectls_is_read():
    found, whole = read_objects(listed(pod(restarts=3), deployment(2, 1), {"kind": "Event", "metadata": {"name": "e"}}))
    assert whole
    assert found == [
        Pod(
            "shop", "orders-6d4b75cb6d-hq2zx", ("Deployment", "orders"), "node-1", "Running", 0,
            [Container("app", True, 3, "running", "")],
        ),
        Workload("shop", "orders", "Deployment", 2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("owners", "workload"),
    [
        ([{"kind": "StatefulSet", "name": "db"}], ("StatefulSet", "db")),
        ([{"kind": "ReplicaSet", "name": "made-by-hand"}], ("ReplicaSet", "made-by-hand")),
        ([], ("Pod", "db-0")),
        (None, ("Pod", "db-0")),
        ([7], ("Pod", "db-0")),
    ],
)
def test_what_a_pod_belongs_to(owners, workload):
    (found,), whole = read_objects(json.dumps(pod("db-0", ownerReferences=owners)).encode())
    assert (found.workload, whole) == (workload, False)


def test_the_items_of_a_list_of_one_kind_have_no_kind():
    item = {name: value for name, value in pod().items() if name != "kind"}
    (found,), _ = read_objects(json.dumps({"kind": "PodList", "items": [item]}).encode())
    assert found.name == "orders-6d4b75cb6d-hq2zx"


@pytest.mark.parametrize(
    "body", [b"", b"NAME READY", b"[]", b"7", b"null", b'{"items": []}', b'{"kind": 7}', b'{"kind": "List"}', b"\xff"]
)
def test_what_is_not_kubernetes_is_refused_with_what_to_send(body):
    with pytest.raises(NotKubernetes, match="send what kubectl get -o json prints"):
        read_objects(body)


@pytest.mark.parametrize(
    "path", [("metadata",), ("spec",), ("status",), ("metadata", "labels"), ("status", "conditions")]
)
@pytest.mark.parametrize("value", [None, 7, "x", [], [None], {}, {"Ready": 1}])
def test_any_value_anywhere_is_no_error(path, value):
    whole = pod()
    inner = whole
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    found, _ = read_objects(listed(whole, {"kind": "Deployment", path[0]: value}))
    assert all(isinstance(one, Pod | Workload) for one in found)


def judged(**given):
    (found,), _ = read_objects(json.dumps(pod(**given)).encode())
    return trouble_of_pod(found, 1_763_996_400 + 90)  # a minute and a half after it was ready or not


def test_a_pod_that_cannot_start_or_is_long_not_ready_is_unwell_and_age_alone_is_nothing():
    assert judged() == []
    assert judged(restarts=7) == []
    assert judged(ready=False, state=CRASHING) == ["app waits: CrashLoopBackOff"]
    assert judged(ready=False, state={"terminated": {"reason": "OOMKilled", "exitCode": 137}}) == [
        "app ended: OOMKilled"
    ]
    assert judged(ready=False) == ["not ready for 1 min"]
    assert judged(ready=False, state={"waiting": {"reason": "ContainerCreating"}}) == ["not ready for 1 min"]
    assert judged(ready=False, deletionTimestamp="2025-11-24T15:00:30Z") == []


def test_a_pod_that_has_just_started_is_not_unwell():
    (found,), _ = read_objects(json.dumps(pod(ready=False)).encode())
    assert trouble_of_pod(found, 1_763_996_400 + 59) == []


@pytest.fixture
def store():
    database = Database(None)
    database.prepare(lambda *_: None)
    now = [NOW]
    store = KubernetesStore(database, lambda: now[0])
    store.now = now
    yield store
    database.close()


def put(store, *items, cluster="main"):
    store.now[0] += 30
    objects, whole = read_objects(listed(*items))
    store.put(cluster, objects, whole=whole)


def names(store):
    return sorted((one.cluster, one.object.namespace, one.object.name) for one in store.objects())


def test_a_list_stands_for_all_there_are_of_its_kinds_in_its_namespaces(store):
    put(store, pod("a"), pod("b"), pod("c", namespace="other"), deployment())
    put(store, pod("a"), cluster="second")
    put(store, pod("b"))
    assert names(store) == [
        ("main", "other", "c"), ("main", "shop", "b"), ("main", "shop", "orders"), ("second", "shop", "a"),
    ]  # fmt: skip
    store.put("main", read_objects(json.dumps(pod("d")).encode())[0], whole=False)
    assert ("main", "shop", "b") in names(store)


def test_changes_are_told_once_and_newest_first(store):
    put(store, pod(), deployment())
    put(store, pod(ready=False, restarts=1, state=CRASHING), deployment(available=1))
    put(store, pod(ready=False, restarts=1, state=CRASHING), deployment(available=0))
    put(store, pod(restarts=1), deployment())
    assert [(change.kind, change.what) for change in store.changes(0)] == [
        ("Deployment", "well again"),
        ("Pod", "well again"),
        ("Deployment", "1 of 2 available"),
        ("Pod", "app waits: CrashLoopBackOff"),
        ("Pod", "restarted (0 to 1)"),
    ]
    assert len(store.changes(NOW + 120)) == 2


def test_what_is_kept_is_bounded(store, monkeypatch):
    monkeypatch.setattr(store_module, "MOST_OBJECTS", 3)
    monkeypatch.setattr(store_module, "MOST_CHANGES", 2)
    put(store, pod("old"))
    put(store, *[pod(f"p{number}", namespace=f"n{number}", ready=False, state=CRASHING) for number in range(3)])
    assert [name for _, _, name in names(store)] == ["p0", "p1", "p2"]
    assert len(store.changes(0)) == 2
    store.now[0] += 25 * 3600
    put(store, pod("new"))
    assert [name for _, _, name in names(store)] == ["new"]


def test_what_is_unwell_is_counted_upwards_and_comes_first(store):
    bad = pod("z", ready=False, state=CRASHING)
    put(store, pod("a"), bad, deployment(available=1), pod("db-0", namespace="calm", ownerReferences=[]))
    tree = build(store.objects(), NOW + 60)
    (cluster,) = tree.sorted()
    shop, calm = cluster.sorted()
    (orders,) = shop.sorted()
    assert (cluster.unwell, shop.name, shop.unwell, calm.name, calm.unwell) == (2, "shop", 2, "calm", 0)
    assert [one.name for one in orders.sorted()] == ["z", "a"]
    assert [one.state(NOW + 60) for one in (cluster, shop, calm, orders)] == ["bad", "bad", "well", "bad"]
    assert cluster.state(NOW + 3600) == "silent"
    assert [one.name for one in calm.sorted()] == ["db-0"]


def test_over_http(client):
    body = gzip.compress(listed(pod("z", ready=False, state=CRASHING), deployment(available=1)))
    answer = client.post(body, f"{PATH}?cluster=main", content_encoding="gzip")
    assert (answer.status, answer.json) == (200, {"objects": 2})
    (cluster,) = client.get(PATH).json
    assert (cluster["name"], cluster["state"], cluster["unwell"]) == ("main", "bad", 2)
    refused = client.post(b"NAME READY", PATH)
    assert (refused.status, "send what kubectl get -o json prints" in refused.text) == (400, True)


def test_the_page(client):
    empty = outline(client.get("/kubernetes"))
    assert "kubectl get pods" in "".join(empty.text)
    client.post(listed(pod("well"), pod("z", ready=False, state=CRASHING)), f"{PATH}?cluster=main")
    client.post(listed(pod(NASTY, namespace=NASTY)), f"{PATH}?cluster=%3Cb%3E")
    page = outline(client.get("/kubernetes"))
    text = "".join(page.text)
    assert "app waits: CrashLoopBackOff" in text
    assert text.index(" z ") < text.index(" well ")
    assert NASTY in text
    assert "img" not in page.elements
    one = "".join(outline(client.get("/kubernetes?cluster=main&namespace=shop&workload=orders&pod=well")).text)
    assert (" well " in one, " z " in one, NASTY in one) == (True, False, False)
    assert "No such object" in "".join(outline(client.get("/kubernetes?pod=none")).text)
