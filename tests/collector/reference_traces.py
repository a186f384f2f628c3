"""Ten traces from Zipkin's own repository, which are kept beside this checkout and not in it."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "vectors" / "traces"
NAMES = (
    "ascend",
    "envoy",
    "messaging",
    "messaging-kafka",
    "messaging2",
    "simple-db-p6",
    "skew",
    "smartthings-mobile-web-install",
    "smartthings-oauth-authorization",
    "yelp",
)


def load(name):
    """Return one trace, a list of spans; skip the test where the traces are not at hand."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"Zipkin's example traces are not at {FOLDER}")
    return json.loads(path.read_text(encoding="utf-8"))
