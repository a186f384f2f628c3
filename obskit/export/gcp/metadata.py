"""Google's metadata server, queried within one deadline, and the cluster's name, which only it knows on GKE.

Source: Compute Engine's documentation of the metadata server; ``GCE_METADATA_HOST`` is google-auth's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from obskit.base.resource_attributes import CLUSTER, pod_attributes
from obskit.export.gcp.surroundings import in_google_cloud, may_have_metadata
from obskit.export.net.http_message import NotHttp, read_body, read_head, send_request
from obskit.export.net.wire import Wire

_ADDRESS = "169.254.169.254"  # an address, as resolving a name has no deadline
_FLAVOR = {"Metadata-Flavor": "Google"}
_MOST_READ = 64 * 1024


class Metadata:
    """Queries the server until ``deadline`` (of ``time.monotonic``), or until a query fails."""

    def __init__(self, environ: Mapping[str, str], deadline: float) -> None:
        self._host, _, port = (environ.get("GCE_METADATA_HOST") or _ADDRESS).partition(":")
        self._port = int(port) if port.isdecimal() else 80
        self._deadline = deadline
        self._expected = may_have_metadata(environ)
        self.failed = False

    def get(self, path: str) -> str:
        """Return a value below ``computeMetadata/v1/``; empty if there is none, or no server."""
        if not self._expected or self.failed or monotonic() >= self._deadline:
            return ""
        try:
            return self._get(path)
        except (OSError, NotHttp):
            self.failed = True
            return ""

    def last(self, path: str) -> str:
        """Return the last part of a value such as ``projects/123/zones/europe-west1-b``."""
        return self.get(path).rpartition("/")[2]

    def _get(self, path: str) -> str:
        wire = Wire(self._host, self._port, None, self._deadline)
        try:
            send_request(wire, "GET", f"/computeMetadata/v1/{path}", self._host, None, _FLAVOR)
            reader = wire.reader()
            head = read_head(reader)
            text = read_body(reader, "GET", head, _MOST_READ)[0].decode("utf-8", "replace").strip()
            return text if head.status == 200 and head.headers.get("Metadata-Flavor") == "Google" else ""
        finally:
            wire.close()


_TIMEOUT = 0.5  # seconds; it answers in a few milliseconds


def pod_and_cluster(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``pod_attributes`` and, in Google Cloud, the cluster's name. May take half a second."""
    found = pod_attributes(environ)
    if environ.get("KUBERNETES_SERVICE_HOST") and CLUSTER not in found and in_google_cloud(environ):
        cluster = Metadata(environ, monotonic() + _TIMEOUT).get("instance/attributes/cluster-name")
        if cluster:
            return {CLUSTER: cluster, **found}
    return found
