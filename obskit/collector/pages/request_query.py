"""The query of ``/traces``: this page's own parameters, and those of Zipkin's interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from obskit.collector.periods import Period, parse_duration, parse_period
from obskit.collector.query import QueryError, TraceQuery, parse_annotation_query
from obskit.collector.store.requests import Wanted

SORTS = {"-end": "newest", "end": "oldest", "-took": "longest", "took": "shortest"}
MOST_LISTED = 200
# The names of the parameters in Zipkin's interface, and the unit of a bare number there.
_ZIPKIN = {
    "serviceName": "service",
    "spanName": "name",
    "remoteServiceName": "remote",
    "annotationQuery": "tags",
    "minDuration": "min",
    "maxDuration": "max",
    "lookback": "last",
    "endTs": "to",
}
_ZIPKIN_UNITS = {"min": "us", "max": "us", "last": "ms"}


@dataclass(frozen=True)
class RequestQuery:
    """A search for requests. Durations are microseconds."""

    period: Period
    service: str | None
    name: str | None
    remote: str | None
    tags: Mapping[str, str]
    shortest: int
    longest: int | None
    failed: bool
    sort: str
    limit: int

    @property
    def by_trace(self) -> bool:
        """Return whether whole traces must be read: requests have no tags and no remote service."""
        return bool(self.remote or self.tags)

    @property
    def wanted(self) -> Wanted:
        """Return the conditions that can be decided from a request alone."""
        period = self.period
        return Wanted(period.first, period.end, self.service, self.name, self.shortest, self.longest, self.failed)

    @property
    def trace_query(self) -> TraceQuery:
        """Return the same search as a query of Zipkin's API."""
        return TraceQuery(
            end_ts=self.period.end // 1_000,
            lookback=max(self.period.length // 1_000, 1),
            limit=self.limit,
            service=self.service,
            remote_service=self.remote,
            span_name=self.name,
            annotations={**self.tags, **({"error": self.tags.get("error", "")} if self.failed else {})},
            min_duration=self.shortest or (1 if self.longest is not None else None),
            max_duration=self.longest,
        )


def own_names(params: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that are set, under this page's names."""
    found = {name: value.strip() for name, value in params.items() if value.strip() and name not in _ZIPKIN}
    for zipkin, name in _ZIPKIN.items():
        text = params.get(zipkin, "").strip()
        if text:
            found.setdefault(name, text + _ZIPKIN_UNITS.get(name, "") if text.isdecimal() else text)
    return found


def parse_requests(params: Mapping[str, str]) -> RequestQuery:
    """Return the search that parameters under this page's names ask for. Raises QueryError."""
    shortest, longest = (parse_duration(name, params[name]) if name in params else None for name in ("min", "max"))
    if longest is not None and longest < (shortest or 0):
        raise QueryError("max is less than min; exchange them")
    sort = params.get("sort", "-end")
    if sort not in SORTS:
        raise QueryError(f"sort is {sort[:40]!r}; give one of {', '.join(SORTS)}")
    return RequestQuery(
        period=parse_period(params),
        service=params.get("service", "").lower() or None,
        name=params.get("name", "").lower() or None,
        remote=params.get("remote", "").lower() or None,
        tags=parse_annotation_query(params.get("tags", "")),
        shortest=shortest or 0,
        longest=longest,
        failed=params.get("errors") == "1",
        sort=sort,
        limit=_limit(params.get("limit", "50")),
    )


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < len(text) < 10 or int(text) == 0:
        raise QueryError(f"limit is {text[:40]!r}; give a whole number from 1 to {MOST_LISTED}")
    return min(int(text), MOST_LISTED)
