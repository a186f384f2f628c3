"""Requests that are left out, such as health probes: by their path, or by who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from obskit.tracing.ids import new_trace_id
from obskit.tracing.propagated import PropagatedSpan

HEALTH_PROBES = ("/healthz", "/livez", "/readyz", "/grpc.health.v1.Health/*", "kube-probe", "GoogleHC")
"""Kubernetes' paths and gRPC's service by custom, and the user agents of kubelet and Google's load balancers."""

Excluded = Callable[[str, str | None], bool]
"""Whether a request for a path, by a user agent, is left out."""


def excluding(entries: Sequence[str]) -> Excluded | None:
    """Return what leaves out ``entries``: paths, in which ``*`` stands for anything, and beginnings of user agents."""
    named = [entry for entry in entries if entry.startswith("/")]
    paths = frozenset(entry for entry in named if "*" not in entry)
    beginnings = tuple(entry[:-1] for entry in named if entry.find("*") == len(entry) - 1)  # cheaper than a pattern
    patterns = [re.escape(entry).replace(r"\*", ".*") for entry in named if "*" in entry[:-1]]
    agents = tuple(entry for entry in entries if not entry.startswith("/"))
    matches = re.compile("|".join(patterns), re.DOTALL).fullmatch if patterns else None

    def excluded(path: str, agent: str | None) -> bool:
        if path in paths or path.startswith(beginnings) or (agent is not None and agent.startswith(agents)):
            return True
        return matches is not None and matches(path) is not None

    return excluded if entries else None


_excluded: Excluded | None = excluding(HEALTH_PROBES)


def exclude(entries: Sequence[str]) -> None:
    """Leave out ``entries`` from now on."""
    global _excluded  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    _excluded = excluding(entries)


def left_out(path: str, agent: str | None, parent: object) -> PropagatedSpan | None:
    """Return the span that stands for a request which is left out; None where it is not.

    It is not recorded, nor is what the application does and calls meanwhile, unless ``parent`` is there to debug it.
    """
    if _excluded is None or not _excluded(path, agent):
        return None
    if isinstance(parent, PropagatedSpan) and parent.trace_id is not None:
        return None if parent.debug else parent.denied()
    trace_id = new_trace_id()
    return PropagatedSpan(trace_id, trace_id[16:], sampled=False)
