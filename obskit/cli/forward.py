"""Passing on the spans that a collector receives, through the exporters and pipelines that applications use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from obskit.export.destinations import parse
from obskit.export.pipeline import Limits, Pipeline
from obskit.export.url import masked
from obskit.tracing.failures import failed

if TYPE_CHECKING:
    from obskit.zipkin.model import Span

_LIMITS = Limits(capacity=50_000, batch_size=1_000, interval=1.0, timeout=10.0)
_BARE_SPAN = 500
_CLOUD_TRACE = "cloudtrace://"
_FORMS = (
    "an http(s):// or grpc(s):// URL of a Zipkin server, kafka://BROKERS/TOPIC, cloudtrace://PROJECT, console, or none"
)

Prepare = Callable[[list["Span"]], list["Span"]]


class Forwarder:
    """Passes spans on to several destinations, each with a queue and a thread of its own.

    Raises ValueError for a URL that is none, saying what is wrong with it and what to give.
    """

    def __init__(self, urls: list[str]) -> None:
        found = [(_pipeline(url), _separate if url.startswith(_CLOUD_TRACE) else _as_they_are) for url in urls]
        self._routes: list[tuple[Pipeline, Prepare]] = [
            (pipeline, prepare) for pipeline, prepare in found if pipeline is not None
        ]

    @property
    def destinations(self) -> list[str]:
        """Where spans go, without passwords."""
        return [pipeline.destination for pipeline, _ in self._routes]

    def pass_on(self, spans: list[Span]) -> None:
        """Queue the spans of one message, or count them as dropped. Waits for nothing, and never raises."""
        try:
            for pipeline, prepare in self._routes:
                for span in prepare(spans):
                    pipeline.offer(cast("Any", span))
        except Exception:
            failed("forwarding spans")

    def close(self, timeout: float) -> list[str]:
        """Send what waits, within ``timeout`` seconds; return a line for each destination that missed some."""
        deadline = monotonic() + timeout
        for pipeline, _ in self._routes:
            pipeline.retire(deadline)
        for pipeline, _ in self._routes:
            pipeline.close(deadline)
        return [line for pipeline, _ in self._routes if (line := _losses(pipeline.stats()))]


def forward_urls(given: list[str], environ: Mapping[str, str]) -> list[str]:
    """Return what ``--forward`` names; without it Cloud Trace, where the variables of Google's collector ask for it."""
    project = environ.get("PROJECT_ID")
    if given or not project or not environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return given
    return [_CLOUD_TRACE + project]


def _pipeline(url: str) -> Pipeline | None:
    if url.startswith("otel:"):
        raise ValueError(f"{url!r} takes spans of OpenTelemetry's kind only; name a server that takes Zipkin's")
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("PROJECT_ID") or ""
    try:
        parsed = parse(url, lambda: _as_it_is, cast("Any", None), project=project)
    except ValueError as error:
        raise ValueError(f"got {masked(url)!r}; give {_FORMS} ({error})") from None
    return Pipeline(*parsed, _LIMITS, weigh=_weight) if parsed else None


def _weight(span: Span) -> int:
    """Return about how many bytes a span takes while it waits."""
    texts = [*span.tags, *span.tags.values(), *(annotation.value for annotation in span.annotations)]
    return _BARE_SPAN + sum(map(len, texts))


def _as_it_is(span: Span) -> Span:
    return span


def _as_they_are(spans: list[Span]) -> list[Span]:
    return spans


def _separate(spans: list[Span]) -> list[Span]:
    from obskit.export.cloud_trace.shared import separate

    return separate(spans)


def _losses(stats: dict[str, Any]) -> str:
    """Return what was not delivered, and why; empty where all was."""
    missed = {**stats["dropped"], "not sent in time": stats["queued"]}
    reasons = ", ".join(f"{count} {reason}" for reason, count in missed.items() if count)
    return f"spans not forwarded to {stats['destination']}: {reasons}" if reasons else ""
