"""What is wrong with a pod or a workload, in words. Age alone is nothing wrong."""

from __future__ import annotations

from obskit.collector.kubernetes.objects import Pod, Workload

READY_WITHIN = 60  # seconds
WELL_AGAIN = "well again"
_STARTING = {"ContainerCreating", "PodInitializing"}  # the reasons of waiting that are no trouble


def trouble_of_pod(pod: Pod, now: float) -> list[str]:
    """Return what is wrong with a pod: a container that cannot start or has failed, or that it is long not ready."""
    found = []
    for container in pod.containers:
        if container.state == "waiting" and container.reason not in _STARTING:
            found.append(f"{container.name} waits: {container.reason or 'no reason given'}")
        elif container.state == "terminated" and container.reason != "Completed":
            found.append(f"{container.name} ended: {container.reason or 'no reason given'}")
    if pod.phase == "Failed":
        found.append("failed")
    if not found and pod.unready_since and now - pod.unready_since > READY_WITHIN:
        found.append(f"not ready for {_span(now - pod.unready_since)}")
    return found


def trouble_of_workload(workload: Workload) -> list[str]:
    """Return what is wrong with a workload: fewer pods are available than it wants."""
    if workload.available >= workload.wanted:
        return []
    return [f"{workload.available} of {workload.wanted} available"]


def changes(before: Pod | Workload | None, after: Pod | Workload, now: float) -> list[str]:
    """Return what happened to an object since it was last heard of, in words."""
    if isinstance(before, Pod) and isinstance(after, Pod):
        restarted = [f"restarted ({before.restarts} to {after.restarts})"] if after.restarts > before.restarts else []
        return restarted + _changed(trouble_of_pod(before, now), trouble_of_pod(after, now))
    if isinstance(before, Workload) and isinstance(after, Workload):
        return _changed(trouble_of_workload(before), trouble_of_workload(after))
    if isinstance(after, Pod):
        return [*trouble_of_pod(after, now)]
    return [*trouble_of_workload(after)]


def _changed(before: list[str], after: list[str]) -> list[str]:
    if before and not after:
        return [WELL_AGAIN]
    return [what for what in after if _kind(what) not in map(_kind, before)]


def _kind(what: str) -> str:
    """Return a trouble without its figures, which change all the time."""
    return "".join(letter for letter in what if not letter.isdigit())


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
