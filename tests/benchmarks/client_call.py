"""What tracing adds to one call with requests, over a kept-alive connection to a server in another process."""

from __future__ import annotations

from collections.abc import Callable

from clocks import Figures, timed
from sides import BARE, Delivery, start

CALLS = 200


def prepare(side: str, variant: str, receiver: str) -> Callable[[], Figures]:
    """Return what makes a round of calls, and checks that a span arrived for each."""
    flush = start(side, receiver, "requests")
    import requests

    delivery = Delivery(side, receiver)
    session = requests.Session()
    session.trust_env = False

    def work() -> None:
        for _ in range(CALLS):
            assert session.get(f"{receiver}/orders/7").text == "an order"

    def do_round() -> Figures:
        figures = timed(CALLS, work, flush)
        delivery.check(0 if side == BARE else CALLS)
        return figures

    return do_round
