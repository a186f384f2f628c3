"""What every page is given: the store, and the colours of the services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from obskit.collector.deadline import Deadline
from obskit.collector.kubernetes.store import KubernetesStore
from obskit.collector.lines.store import LineStore
from obskit.collector.metrics import Metrics
from obskit.collector.pages.markup import Html, render
from obskit.collector.pages.views import Views
from obskit.collector.periods import Period
from obskit.collector.profiles.store import ProfileStore
from obskit.collector.store.spans import SpanStore
from obskit.collector.told import Told

if TYPE_CHECKING:
    from starlette.requests import Request

_MINUTE = 60_000_000  # microseconds
COLOURS = 20  # classes s0, s1, ... of the style sheet


@dataclass
class Site:
    """The stores that the pages show, and the order in which services were first seen."""

    store: SpanStore
    lines: LineStore
    kubernetes: KubernetesStore
    profiles: ProfileStore
    transports: Sequence[Metrics] = ()  # what was counted of the messages that came
    told: Told = field(default_factory=Told)
    views: Views = field(init=False)
    _seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.views = Views(self.store)

    def stored(self, period: Period) -> Period:
        """Return what there are numbers of, where a window until now begins before all of them."""
        oldest = self.store.cells.oldest() * _MINUTE
        if not period.last or not period.first < oldest < period.end:
            return period
        return replace(period, first=oldest)

    def colour(self, service: str) -> str:
        """Return the CSS class of a service's colour: twenty services have twenty colours, the same for all readers."""
        if service not in self._seen:
            for name in [*self.store.service_names(), service]:
                self._seen.setdefault(name, len(self._seen))
        return f"s{self._seen[service] % COLOURS}"

    def colours(self) -> str:
        """Return the classes of all services that are stored, as JSON for a script."""
        services = dict.fromkeys([*self.store.service_names(), *self.lines.services()])
        return msgspec.json.encode({service: self.colour(service) for service in services}).decode()

    def badge(self, service: str, count: int = 1) -> Html:
        """Return a service's name in its colour, with the number of its spans if there are several."""
        text = service if count == 1 else f"{service} x{count}"
        return render('<span class="service {colour}">{text}</span>', colour=self.colour(service), text=text)


Page = Callable[[Site, "Request", Deadline], Response]
