"""Requests that are left out, such as health probes: by their path, or by who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from obskit.tracing.ids import new_trace_id
from obskit.tracing.propagated import PropagatedSpan

HEALTH_PROBES = ("/healthz", "/livez", "/readyz", "/grpc.health.v1.Health/*", "kube-probe", "GoogleHC", "Prometheus/")
"""Kubernetes' paths and gRPC's service by custom; the user agents of kubelet, Google's load balancers, Prometheus."""

Excluded = Callable[[str, str | None], bool]
"""Whether a request for a path, by a user agent, is left out."""


def excluding(entries: Sequence[str]) -> Excluded:
    """Return what leaves out ``entries``: paths, in which ``*`` stands for anything, and beginnings of user agents."""
    paths = [entry for entry in entries if entry.startswith("/")]
    agents = tuple(entry for entry in entries if not entry.startswith("/"))
    exact = frozenset(path for path in paths if "*" not in path)
    beginnings = tuple(path[:-1] for path in paths if path.find("*") == len(path) - 1)
    patterns = [re.escape(path).replace(r"\*", ".*") for path in paths if "*" in path[:-1]]
    matches = re.compile("|".join(patterns), re.DOTALL).fullmatch if patterns else None

    def excluded(path: str, agent: str | None) -> bool:
        if path in exact or path.startswith(beginnings) or (agent is not None and agent.startswith(agents)):
            return True
        return matches is not None and matches(path) is not None

    return excluded


is_excluded: Excluded = excluding(HEALTH_PROBES)
"""To be asked as ``exclusions.is_excluded``, since it is replaced when configuring."""


def exclude(entries: Sequence[str]) -> None:
    """Leave out ``entries`` from now on."""
    global is_excluded  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    is_excluded = excluding(entries)


def unseen(parent: object) -> PropagatedSpan | None:
    """Return the span that stands for a request which is left out; None where ``parent`` is there to debug it.

    It is not recorded, nor is what the application does and calls meanwhile.
    """
    if isinstance(parent, PropagatedSpan):
        if parent.debug:  # also without ids: a person asks, with `curl -H 'X-B3-Flags: 1'`
            return None
        if parent.trace_id is not None:
            return parent.denied()
    trace_id = new_trace_id()
    return PropagatedSpan(trace_id, trace_id[16:], sampled=False)
