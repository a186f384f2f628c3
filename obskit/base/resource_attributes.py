"""What the environment says of this process and its pod, by the names of OpenTelemetry's resource attributes.

Source: OpenTelemetry's semantic conventions for Kubernetes resources; Kubernetes' documentation of the downward API.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote

RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
"""Such as ``service.name=orders,k8s.pod.name=$(POD_NAME)``."""


def resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that the environment gives; of a key that is given again the last value counts."""
    return read_attributes(environ.get(RESOURCE_ATTRIBUTES, ""))


def read_attributes(text: str) -> dict[str, str]:
    """Return the pairs of a comma-separated list of ``key=value``, percent-decoded. Items without ``=`` are ignored."""
    pairs = (pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    return {key.strip(): unquote(value.strip()) for key, value in pairs}


_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"  # the alphabet of generated names: no vowels, so no words
_OF_DEPLOYMENT = rf"(.+)-{_SAFE}{{8,10}}-{_SAFE}{{5}}"

CLUSTER, NAMESPACE, POD = "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name"
CONTAINER, DEPLOYMENT = "k8s.container.name", "k8s.deployment.name"


def pod_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the cluster, namespace, deployment, pod and container that are known; nothing outside Kubernetes.

    What OTEL_RESOURCE_ATTRIBUTES gives comes first. Kubernetes itself tells a container its pod's name only.
    """
    given = resource_attributes(environ)
    if not environ.get("KUBERNETES_SERVICE_HOST"):
        return {key: value for key, value in given.items() if key.startswith("k8s.") and value}
    pod = given.get(POD) or _first(environ, "POD_NAME", "HOSTNAME") or os.uname().nodename
    found = {
        CLUSTER: _first(environ, "CLUSTER_NAME"),
        NAMESPACE: _first(environ, "NAMESPACE_NAME", "POD_NAMESPACE", "NAMESPACE") or _mounted_namespace(),
        DEPLOYMENT: deployment_of(pod),
        POD: pod,
        CONTAINER: _first(environ, "CONTAINER_NAME"),
    }
    found.update((key, value) for key, value in given.items() if key.startswith("k8s.") and value)
    return {key: value for key, value in found.items() if value}


def deployment_of(pod: str) -> str:
    """Return the deployment of a pod by the form of its name, ``orders-6d4b75cb6d-hq2zx``; empty for any other form."""
    match = re.fullmatch(_OF_DEPLOYMENT, pod)
    return match[1] if match else ""


def _mounted_namespace() -> str:
    try:
        with open(_NAMESPACE, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")
