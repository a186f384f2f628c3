"""Requests that are left out, such as health probes: by their path, or by who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from time import time_ns

from obskit.tracing.ids import new_trace
from obskit.tracing.propagated import PropagatedSpan

HEALTH_PROBES = ("/healthz", "/livez", "/readyz", "/grpc.health.v1.Health/*", "kube-probe", "GoogleHC", "Prometheus/")
"""Kubernetes' paths and gRPC's service by custom; the user agents of kubelet, Google's load balancers, Prometheus."""

_paths: tuple[str, ...]
"""How the paths begin that may be left out: few others do, so that this is all that is asked of most requests."""
_agents: tuple[str, ...]
"""How the user agents begin whose requests are left out."""
_matches: Callable[[str], object]


def exclude(entries: Sequence[str]) -> None:
    """Leave out ``entries`` from now on: paths, in which ``*`` stands for anything, and beginnings of user agents."""
    global _paths, _agents, _matches  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    whole = [entry for entry in entries if entry.startswith("/")]
    _agents = tuple(entry for entry in entries if not entry.startswith("/"))
    _paths = tuple(path.partition("*")[0] for path in whole)
    patterns = [re.escape(path).replace(r"\*", ".*") for path in whole]
    _matches = re.compile("|".join(patterns), re.DOTALL).fullmatch


exclude(HEALTH_PROBES)


def is_excluded(path: str, agent: str | None) -> bool:
    """Return whether a request for ``path``, by a user agent, is left out."""
    if path.startswith(_paths) and _matches(path):
        return True
    return agent is not None and agent.startswith(_agents)


def unseen(parent: object) -> PropagatedSpan | None:
    """Return the span that stands for a request which is left out; None where ``parent`` is there to debug it.

    It is not recorded, nor is what the application does and calls meanwhile.
    """
    if isinstance(parent, PropagatedSpan):
        if parent.debug:  # also without ids: a person asks, with `curl -H 'X-B3-Flags: 1'`
            return None
        if parent.trace_id is not None:
            return parent.denied()
    return PropagatedSpan(*new_trace(time_ns()), sampled=False)
