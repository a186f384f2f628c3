"""The pod this process runs in, with its cluster's name, which GKE tells by its metadata server only."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from obskit.base.kubernetes import CLUSTER, pod_attributes
from obskit.export.gcp.metadata import Metadata
from obskit.export.gcp.surroundings import in_google_cloud

_TIMEOUT = 0.5  # seconds; it answers in a few milliseconds


def pod_and_cluster(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``pod_attributes``, and in Google Cloud the cluster's name. May take half a second: not for a request."""
    found = pod_attributes(environ)
    if environ.get("KUBERNETES_SERVICE_HOST") and CLUSTER not in found and in_google_cloud(environ):
        cluster = Metadata(environ, monotonic() + _TIMEOUT).get("instance/attributes/cluster-name")
        if cluster:
            return {CLUSTER: cluster, **found}
    return found
