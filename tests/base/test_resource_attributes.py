"""Which pod a process says it is in, and on which of its spans it says so."""

from __future__ import annotations

import pytest

import obskit
from obskit.base import resource_attributes
from obskit.base.resource_attributes import deployment_of, pod_attributes
from tests.export.receiver import receiver
from tests.logs.cloud import google_fakes

POD = "orders-api-6d4b75cb6d-hq2zx"
INSIDE = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": POD}


@pytest.mark.parametrize(
    ("pod", "deployment"),
    [
        (POD, "orders-api"),
        ("a-59d67564bf-x7k2m", "a"),
        ("orders-0", ""),  # of a StatefulSet
        ("node-exporter-hq2zx", ""),  # of a DaemonSet
        ("backup-28391820-hq2zx", ""),  # of a CronJob: digits that generated names do not have
        ("orders-6d4b75cb6d", ""),
        ("6d4b75cb6d-hq2zx", ""),
        ("", ""),
    ],
)
def test_a_deployment_is_known_by_the_form_of_its_pods_names(pod, deployment):
    assert deployment_of(pod) == deployment


def test_what_a_pod_is_told_comes_before_what_can_be_found(monkeypatch, tmp_path):
    namespace = tmp_path / "namespace"
    namespace.write_text("shop\n")
    monkeypatch.setattr(resource_attributes, "_NAMESPACE", namespace)
    found = {"k8s.namespace.name": "shop", "k8s.deployment.name": "orders-api", "k8s.pod.name": POD}
    assert pod_attributes(INSIDE) == found
    told = {"OTEL_RESOURCE_ATTRIBUTES": "k8s.namespace.name=told,k8s.node.name=n1,k8s.pod.name=,service.name=x"}
    assert pod_attributes({**INSIDE, **told}) == {**found, "k8s.namespace.name": "told", "k8s.node.name": "n1"}
    named = {"POD_NAME": "web-0", "POD_NAMESPACE": "n", "CONTAINER_NAME": "app", "CLUSTER_NAME": "main"}
    assert pod_attributes({**INSIDE, **named}) == {
        "k8s.cluster.name": "main", "k8s.namespace.name": "n", "k8s.pod.name": "web-0", "k8s.container.name": "app",
    }  # fmt: skip


def test_outside_kubernetes_only_what_is_told_counts():
    assert pod_attributes({"HOSTNAME": POD, "POD_NAME": POD}) == {}
    assert pod_attributes({"OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=p,service.name=x"}) == {"k8s.pod.name": "p"}


@pytest.fixture
def inside(monkeypatch):
    """Be in a pod of GKE."""
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "POD_NAME", "NAMESPACE_NAME", "POD_NAMESPACE", "CLUSTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**INSIDE, "NAMESPACE": "shop", "CONTAINER_NAME": "app"}.items():
        monkeypatch.setenv(name, value)
    with google_fakes.metadata({"instance/attributes/cluster-name": "main"}) as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        yield
    obskit.shutdown()


IN_POD = {
    "k8s.cluster.name": "main", "k8s.namespace.name": "shop", "k8s.deployment.name": "orders-api",
    "k8s.pod.name": POD, "k8s.container.name": "app",
}  # fmt: skip


@pytest.mark.usefixtures("inside")
def test_the_first_span_of_a_trace_in_this_process_says_where_it_ran_unless_it_says_otherwise():
    with receiver() as server:
        obskit.init(service="orders", exporter=server.url, integrations=[], logs="off", profiler="off")
        with obskit.span("root"), obskit.span("child"):
            pass
        headers = {"x-b3-traceid": "a" * 32, "x-b3-spanid": "b" * 16, "x-b3-sampled": "1"}
        with obskit.continue_trace(headers), obskit.span("continued") as span:
            span.tag("k8s.container.name", "own")
        assert obskit.flush()
        tags = {span["name"]: span.get("tags", {}) for span in server.spans}
        assert tags == {"root": IN_POD, "child": {}, "continued": {**IN_POD, "k8s.container.name": "own"}}


@pytest.mark.usefixtures("inside")
def test_exporters_of_opentelemetry_are_told_by_the_resource():
    obskit.init(service="orders", exporter="none", integrations=[], logs="off", profiler="off")
    from obskit.instrumentation.tracer import provider

    known = provider.resource.attributes
    assert known["k8s.pod.name"] == POD
    assert known["k8s.deployment.name"] == "orders-api"
