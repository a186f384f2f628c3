"""Pictures of the collector's pages for ``docs/images``, light and dark: ``make screenshots``.

The collector is filled by the demo's services and by what ``kubectl`` would print of them. Needs Chromium, and
pngquant, which leaves a picture a third of its bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec

from obskit.cli import demo_services, demo_traces
from obskit.collector.server import CollectorServer
from tests.collector import chromium, shop
from tests.collector.test_kubernetes import CRASHING, listed, pod

FOLDER = Path(__file__).parents[1] / "docs" / "images"
SIZE = (1280, 800)
DISHES = (*["pasta", "soup", "curry"] * 6, "fugu")  # there is none of the last
LOAD = 170.0  # seconds of orders: what is counted by the minute wants a few of them
PAUSES = (0.1, 0.3, 0.6, 0.2)  # seconds between two orders
PROFILED = 3.0  # seconds: the services send a profile every 2


def main() -> None:
    """Write the pictures."""
    if not chromium.find() or not shutil.which("pngquant"):
        sys.exit("needs chromium and pngquant: apt-get install chromium pngquant")
    FOLDER.mkdir(exist_ok=True)
    with (
        CollectorServer() as collector,
        demo_services.running(collector.url) as services,
        chromium.Browser() as browser,
    ):
        begun = time.time()
        for dish, pause in zip(cycle(DISHES), cycle(PAUSES), strict=False):
            demo_traces.order(services, dish)
            time.sleep(pause)
            if time.time() > begun + LOAD:
                break
        _post_cluster(collector.url)
        time.sleep(PROFILED)
        period = f"from={int(begun * 1000)}&to={int(time.time() * 1000)}"
        for dark in (False, True):
            for name, path in _pages(collector.url, period).items():
                _picture(browser, collector.url + path, FOLDER / f"{name}-{'dark' if dark else 'light'}.png", dark=dark)


def _pages(url: str, period: str) -> dict[str, str]:
    """Return what is shown: a name, and the address on the collector."""
    data = _read(f"{url}/api/v2/traces?limit=500&spanName=get%20/order/%3Cdish%3E")
    traces = sorted(msgspec.convert(data, list[demo_traces.Trace]), key=_took)
    quickest, slowest = next(one for one in traces if len(one) == len(traces[-1]))[0].trace_id, traces[-1][0].trace_id
    part = demo_traces.longest(traces[-1], leaf=True).id
    return {
        "services": f"/?{period}",
        "service": f"/services/b?{period}",
        "graph": f"/graph?{period}",
        "traces": f"/traces?{period}",
        "trace": f"/traces/{slowest}?span={part}",
        "trace-flame": f"/traces/{slowest}?view=flame",
        "compare": f"/compare/{quickest}/{slowest}",
        "logs": "/logs",
        "profiles": "/profiles?service=b&type=cpu&route=/cook/%3Cstr:dish%3E",
        "incidents": f"/incidents?{period}",
        "kubernetes": "/kubernetes",
    }


def _took(trace: demo_traces.Trace) -> int:
    return demo_traces.longest(trace).duration or 0


def _read(url: str, body: bytes | None = None) -> Any:
    with urlopen(Request(url, body, {"content-type": "application/json"}), timeout=10) as answer:
        data = answer.read()
    return msgspec.json.decode(data) if data else None


def _post_cluster(url: str) -> None:
    """Post two states of a cluster: in the second a pod of the kitchen fails."""
    for state in (_pods(), _pods(ready=False, restarts=4, state=CRASHING)):
        _read(f"{url}/api/obskit/v1/kubernetes?cluster=demo", listed(*state))


def _pods(**of_the_kitchen: Any) -> list[dict[str, Any]]:
    found = []
    for name in ("bar", "kitchen", "pantry", "till", "waiter"):
        owners = [{"kind": "ReplicaSet", "name": f"{name}-6d4b75cb6d", "controller": True}]
        for end, changed in (("x1", of_the_kitchen if name == "kitchen" else {}), ("y2", {})):
            full = f"{name}-6d4b75cb6d-{end}"
            found.append(pod(full, namespace="restaurant", **changed, ownerReferences=owners))
    return found


def _picture(browser: chromium.Browser, url: str, path: Path, *, dark: bool) -> None:
    tab = browser.tab(*SIZE, dark=dark).open(url)
    tab.wait(shop.SETTLED)
    with tempfile.NamedTemporaryFile(suffix=".png") as whole:
        tab.screenshot(Path(whole.name))
        subprocess.run(["pngquant", "--force", "--speed=1", "--output", path, "64", whole.name], check=True)


if __name__ == "__main__":
    main()
