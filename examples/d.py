"""Service d, the bar (Bottle): pours a drink that goes with the dish."""

from __future__ import annotations

import logging
import os

from bottle import Bottle

import obskit

obskit.init(service="d")

DRINKS = {"curry": "lassi", "pasta": "red wine"}

app = Bottle()
log = logging.getLogger("bar")
logging.basicConfig(level=logging.INFO)


def drink(dish: str) -> dict[str, str]:
    """Pour a drink; water goes with everything."""
    log.info("pouring something for %s", dish)
    return {"drink": DRINKS.get(dish, "water")}


app.route("/drink/<dish>", "GET", drink)

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8084")))
