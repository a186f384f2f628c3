"""Detects Google Cloud from the environment and the machine's name, without a network request."""

from __future__ import annotations

import os
from collections.abc import Mapping

_VARIABLES = ("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE", "FUNCTION_TARGET")
_PRODUCT = "/sys/class/dmi/id/product_name"


def in_google_cloud(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether there is a sign of Google Cloud; ``NO_GCE_CHECK=true``, as google-auth has it, says no."""
    if environ.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    return any(environ.get(name) for name in _VARIABLES) or read_text(_PRODUCT).startswith("Google")


def may_have_metadata(environ: Mapping[str, str]) -> bool:
    """Return whether a metadata server may answer. Elsewhere its address may swallow packets for seconds.

    A pod of GKE has no sign but its cluster's, which those of other clouds have, too.
    """
    if environ.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) or in_google_cloud(environ)


def read_text(path: str) -> str:
    """Return a small file's text without white space around it; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
