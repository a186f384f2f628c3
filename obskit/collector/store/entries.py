"""The requests among spans, in columns: health numbers and scatter plots are made from the same ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from obskit.collector.query import entries_among
from obskit.collector.store.health_numbers import buckets_of
from obskit.zipkin.model import Span

_WORKLOAD, _POD = "k8s.deployment.name", "k8s.pod.name"  # tags that name where a span ran


class Entries(NamedTuple):
    """What is known of each request. Times are microseconds; texts are empty where a span does not say."""

    times: list[int]  # when it began
    took: list[int]  # 0 where it is not known
    buckets: list[int]  # of the durations
    failed: list[bool]
    roots: list[bool]  # whether it has no parent
    services: list[str]
    names: list[str]
    workloads: list[str]
    pods: list[str]
    ids: list[str]  # of the traces


def entries_of(spans: Iterable[Span]) -> Entries:
    """Return the requests among spans."""
    its = entries_among(spans)
    tags = [span.tags for span in its]
    took = [span.duration or 0 for span in its]
    return Entries(
        times=[span.timestamp or 0 for span in its],
        took=took,
        buckets=buckets_of(took),
        failed=["error" in of_span for of_span in tags],
        roots=[span.parent_id is None for span in its],
        services=[((where := span.local_endpoint) and where.service_name) or "" for span in its],
        names=[span.name or "" for span in its],
        workloads=[of_span.get(_WORKLOAD, "") for of_span in tags],
        pods=[of_span.get(_POD, "") for of_span in tags],
        ids=[span.trace_id for span in its],
    )


def joined(parts: Iterable[Entries]) -> Entries:
    """Return those of all parts."""
    return Entries(*(list(chain.from_iterable(columns)) for columns in zip(*parts, strict=True)))
