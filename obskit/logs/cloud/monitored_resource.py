"""Detects the monitored resource of this process's entries, from the environment and the metadata server.

Source: Cloud Logging's list of monitored resource types, and Cloud Run's container contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from obskit.base.resource_attributes import CLUSTER, CONTAINER, NAMESPACE, POD, pod_attributes, resource_attributes
from obskit.export.gcp.metadata import Metadata


class Resource(NamedTuple):
    """A monitored resource, the project to write to (empty if unknown), and labels for every entry.

    ``partial`` means that the metadata server, which should exist here, did not answer yet.
    """

    kind: str
    labels: dict[str, str]
    project: str
    entry_labels: dict[str, str]
    partial: bool


def detect(project: str | None, environ: Mapping[str, str], deadline: float) -> Resource:
    """Return the resource that this process runs on, or ``global``, by ``deadline`` (of ``time.monotonic``)."""
    metadata = Metadata(environ, deadline)
    known = project or environ.get("GOOGLE_CLOUD_PROJECT") or metadata.get("project/project-id")
    found = (
        (_kubernetes(environ, metadata) if environ.get("KUBERNETES_SERVICE_HOST") else None)
        or (_job(environ, metadata) if environ.get("CLOUD_RUN_JOB") else None)
        or (_service(environ, metadata) if environ.get("K_SERVICE") else None)
        or _machine(metadata)
        or ("global", {})
    )
    kind, labels = found
    labels = {key: value for key, value in {"project_id": known, **labels}.items() if value}
    return Resource(kind, labels, known, _entry_labels(kind, environ), metadata.failed)


_Found = tuple[str, dict[str, str]] | None


def _kubernetes(environ: Mapping[str, str], metadata: Metadata) -> _Found:
    """Return the container's resource; None if the cluster's name, which the API requires, is unknown."""
    given, pod = resource_attributes(environ), pod_attributes(environ)
    cluster = pod.get(CLUSTER) or metadata.get("instance/attributes/cluster-name")
    if not cluster:
        return None
    location = given.get("cloud.availability_zone") or given.get("cloud.region") or environ.get("CLUSTER_LOCATION")
    location = location or metadata.get("instance/attributes/cluster-location") or metadata.last("instance/zone")
    labels = {
        "location": location,
        "cluster_name": cluster,
        "namespace_name": pod.get(NAMESPACE, ""),
        "pod_name": pod.get(POD, ""),
        "container_name": pod.get(CONTAINER, ""),
    }
    return "k8s_container", labels


def _job(environ: Mapping[str, str], metadata: Metadata) -> _Found:
    return "cloud_run_job", {"location": _region(environ, metadata), "job_name": environ["CLOUD_RUN_JOB"]}


def _service(environ: Mapping[str, str], metadata: Metadata) -> _Found:
    labels = {
        "location": _region(environ, metadata),
        "service_name": environ["K_SERVICE"],
        "revision_name": environ.get("K_REVISION", ""),
        "configuration_name": environ.get("K_CONFIGURATION", ""),
    }
    return "cloud_run_revision", labels


def _machine(metadata: Metadata) -> _Found:
    machine = metadata.get("instance/id")
    return ("gce_instance", {"instance_id": machine, "zone": metadata.last("instance/zone")}) if machine else None


def _region(environ: Mapping[str, str], metadata: Metadata) -> str:
    return resource_attributes(environ).get("cloud.region") or metadata.last("instance/region")


def _entry_labels(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that Cloud Run itself adds to a job's output."""
    if kind != "cloud_run_job":
        return {}
    names = {"execution_name": "CLOUD_RUN_EXECUTION", "task_index": "CLOUD_RUN_TASK_INDEX"}
    return {f"run.googleapis.com/{key}": environ[name] for key, name in names.items() if environ.get(name)}
