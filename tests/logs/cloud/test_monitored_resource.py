"""Which monitored resource a process is, by its environment and a metadata server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from obskit.base import resource_attributes
from obskit.export.gcp import metadata as metadata_module
from obskit.export.gcp import surroundings
from obskit.logs.cloud.monitored_resource import Resource, detect
from tests.export.receiver import free_port
from tests.logs.cloud import google_fakes

GKE = {
    "project/project-id": "found",
    "instance/attributes/cluster-name": "main",
    "instance/attributes/cluster-location": "europe-west1",
    "instance/zone": "projects/9/zones/europe-west1-b",
    "instance/region": "projects/9/regions/europe-west1",
    "instance/id": "123",
}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "orders-6f7-abc"}
SERVICE = {"K_SERVICE": "orders", "K_REVISION": "orders-00007", "K_CONFIGURATION": "orders"}


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def found(environ: dict[str, str], project: str | None = None, values: dict[str, str] | None = None) -> Resource:
    with google_fakes.metadata(GKE if values is None else values) as address:
        return detect(project, {**environ, "GCE_METADATA_HOST": address}, soon())


def test_a_container_of_gke(monkeypatch, tmp_path):
    namespace = tmp_path / "namespace"
    namespace.write_text("shop\n")
    monkeypatch.setattr(resource_attributes, "_NAMESPACE", namespace)
    assert found({**KUBERNETES, "CONTAINER_NAME": "app"}) == Resource(
        "k8s_container",
        {
            "project_id": "found", "location": "europe-west1", "cluster_name": "main", "namespace_name": "shop",
            "pod_name": "orders-6f7-abc", "container_name": "app",
        },
        "found", {}, partial=False,
    )  # fmt: skip


def test_what_the_pod_was_told_of_itself_wins(monkeypatch):
    told = "k8s.pod.name=pod,k8s.namespace.name=space,k8s.container.name=box,k8s.cluster.name=c,cloud.region=r"
    container = found(
        {**KUBERNETES, "OTEL_RESOURCE_ATTRIBUTES": told, "POD_NAME": "other", "NAMESPACE": "other"}, "mine"
    )
    assert container.labels == {
        "project_id": "mine", "location": "r", "cluster_name": "c", "namespace_name": "space", "pod_name": "pod",
        "container_name": "box",
    }  # fmt: skip


def test_names_given_by_plain_variables():
    container = found({**KUBERNETES, "POD_NAMESPACE": "space", "POD_NAME": "pod", "CLUSTER_NAME": "c"})
    assert container.labels["namespace_name"] == "space"
    assert container.labels["pod_name"] == "pod"
    assert container.labels["cluster_name"] == "c"
    assert "container_name" not in container.labels


def test_a_cluster_that_nobody_names_is_global():
    assert found(KUBERNETES, values={}).kind == "global"


def test_a_service_of_cloud_run():
    assert found(SERVICE) == Resource(
        "cloud_run_revision",
        {
            "project_id": "found", "location": "europe-west1", "service_name": "orders",
            "revision_name": "orders-00007", "configuration_name": "orders",
        },
        "found", {}, partial=False,
    )  # fmt: skip


def test_a_job_of_cloud_run():
    job = {"CLOUD_RUN_JOB": "nightly", "CLOUD_RUN_EXECUTION": "nightly-x1", "CLOUD_RUN_TASK_INDEX": "4"}
    assert found(job) == Resource(
        "cloud_run_job",
        {"project_id": "found", "location": "europe-west1", "job_name": "nightly"},
        "found",
        {"run.googleapis.com/execution_name": "nightly-x1", "run.googleapis.com/task_index": "4"},
        partial=False,
    )


def test_a_virtual_machine():
    machine = found({})
    assert machine.kind == "gce_instance"
    assert machine.labels == {"project_id": "found", "instance_id": "123", "zone": "europe-west1-b"}


def test_the_project_that_was_given_wins_over_the_environment_and_that_over_the_metadata_server():
    assert found({"GOOGLE_CLOUD_PROJECT": "env"}, "given").project == "given"
    assert found({"GOOGLE_CLOUD_PROJECT": "env"}).project == "env"
    assert found({}).project == "found"


def test_without_a_sign_of_google_nobody_is_asked(monkeypatch, tmp_path):
    product = tmp_path / "product"
    product.write_text("Standard PC\n")
    monkeypatch.setattr(surroundings, "_PRODUCT", product)
    monkeypatch.setattr(metadata_module, "Wire", None)  # would fail
    assert detect(None, {}, soon()) == Resource("global", {}, "", {}, partial=False)


def test_no_gce_check_is_honoured():
    with google_fakes.metadata(GKE) as address:
        environ = {"GCE_METADATA_HOST": address, "NO_GCE_CHECK": "True"}
        assert detect(None, environ, soon()).kind == "global"


def test_a_silent_server_is_given_up_and_the_resource_is_known_to_be_partial():
    with google_fakes.silence() as address:
        silent = detect("mine", {**SERVICE, "GCE_METADATA_HOST": address}, soon(0.2))
    assert silent.kind == "cloud_run_revision"
    assert "location" not in silent.labels
    assert silent.partial


def test_nobody_there_is_no_failure_of_ours():
    nobody = detect("mine", {"GCE_METADATA_HOST": f"127.0.0.1:{free_port()}"}, soon())
    assert (nobody.kind, nobody.partial) == ("global", True)


@pytest.mark.parametrize("answer", [(200, {}, b"<html>log in first"), (500, {"Metadata-Flavor": "Google"}, b"oops")])
def test_a_server_that_is_not_google_s_is_not_believed(answer):
    with google_fakes.serve_http(lambda *_: answer) as address:
        assert detect(None, {"GCE_METADATA_HOST": address}, soon()) == Resource("global", {}, "", {}, partial=False)


def test_a_file_that_cannot_be_read_is_empty(tmp_path: Path):
    assert surroundings.read_text(str(tmp_path / "none")) == ""
