"""Which project's Cloud Trace a ``cloudtrace://PROJECT`` URL means, and where it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from obskit.export.gcp.endpoint import Endpoint, find_endpoint

_SCHEME = "cloudtrace://"
_ENDPOINT = "OBSKIT_CLOUDTRACE_ENDPOINT"
_GOOGLE = "https://cloudtrace.googleapis.com"
_is_project = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9-]+").fullmatch  # before the colon: a domain, in some old ids


class Target(NamedTuple):
    """Where spans go; without a project, to the one that the metadata server or the credentials name."""

    endpoint: Endpoint
    project: str


def parse_url(url: str, project: str, environ: Mapping[str, str]) -> Target:
    """Return what ``url`` means; ``project`` is the one of a URL that names none. Raises ValueError."""
    named = url.removeprefix(_SCHEME).rstrip("/")
    if named and not _is_project(named):
        raise ValueError(f"what follows {_SCHEME} is not the id of a Google Cloud project; write {_SCHEME}PROJECT")
    return Target(find_endpoint(_ENDPOINT, _GOOGLE, environ), named or project)
