"""Service a, the waiter (Flask).

Asks the kitchen for the dish with requests and the bar for a drink with urllib; the bill goes into the till's queue.
"""

from __future__ import annotations

import json
import logging
import os
from socket import create_connection
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import requests
from flask import Flask

import obskit

obskit.init(service="a")

KITCHEN = os.environ.get("B_URL", "http://127.0.0.1:8082")
BAR = os.environ.get("D_URL", "http://127.0.0.1:8084")
TILL = urlsplit(os.environ.get("E_URL", "tcp://127.0.0.1:8085"))
PATIENCE = 5  # seconds

app = Flask(__name__)
log = logging.getLogger("waiter")
logging.basicConfig(level=logging.INFO)


@app.get("/order/<dish>")
def order(dish: str) -> Any:
    """Serve a dish with a drink; 502 when the kitchen cannot make it."""
    log.info("a guest orders %s", dish)
    cooked = requests.get(f"{KITCHEN}/cook/{quote(dish)}", timeout=PATIENCE)
    if not cooked.ok:
        return {"sorry": f"no {dish} today"}, 502
    with urlopen(f"{BAR}/drink/{quote(dish)}", timeout=PATIENCE) as poured:
        meal = {**cooked.json(), **json.load(poured)}
    queue_bill(dish)
    return meal


def queue_bill(dish: str) -> None:
    """Put a bill into the till's queue, with the trace's headers: nobody waits until it is entered."""
    with obskit.span("bill", kind="producer", remote="bills"):
        bill = {"dish": dish, "trace": obskit.inject({})}
        with create_connection((TILL.hostname, TILL.port or 8085), PATIENCE) as till:
            till.sendall(json.dumps(bill).encode() + b"\n")
            till.recv(1)  # it is in the queue


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8081")))
