"""Service d, the bar (Bottle): pours a drink that goes with the dish, which it looks up in its cellar (SQLite)."""

from __future__ import annotations

import logging
import os
import sqlite3

from bottle import Bottle

import obskit

obskit.init(service="d")

LASSIS = 2_000
# How many bottles are cheaper is counted anew for each that goes with the dish: nothing for pasta, a lot for curry.
CHEAPEST = """
SELECT name FROM bottles AS one WHERE dish = ?
ORDER BY (SELECT count(*) FROM bottles AS other WHERE other.price < one.price) LIMIT 1
"""

app = Bottle()
log = logging.getLogger("bar")
logging.basicConfig(level=logging.INFO)
cellar = sqlite3.connect(":memory:", check_same_thread=False)
cellar.execute("CREATE TABLE bottles (name TEXT, dish TEXT, price INTEGER)")
cellar.execute("INSERT INTO bottles VALUES ('red wine', 'pasta', 12)")
cellar.executemany("INSERT INTO bottles VALUES (?, 'curry', ?)", ((f"lassi no. {n}", n) for n in range(LASSIS)))


def drink(dish: str) -> dict[str, str]:
    """Pour the cheapest drink that goes with a dish; water goes with everything."""
    log.info("pouring something for %s", dish)
    found = cellar.cursor().execute(CHEAPEST, (dish,)).fetchone()
    return {"drink": found[0] if found else "water"}


app.route("/drink/<dish>", "GET", drink)

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8084")))
