"""What each page of a collector costs that holds a million requests, a million lines and 2,000 profiles.

``python -m tests.benchmarks.collector.pages FILE --hours 24`` fills FILE first if it is not there. For each page a
server is started; figures are CPU of its process and wall time of the first answer, and the median of the following.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from obskit.collector.store.database import Database
from tests.benchmarks.collector import sides
from tests.benchmarks.collector.stock import fill

_HOUR = 3_600_000  # milliseconds
_WARM = 5  # times that a page is asked for again
_QUIET = 0.1  # CPU seconds of two seconds: less is nothing that is still being done


@dataclass(frozen=True)
class _Cost:
    cpu: float
    wall: float


def main() -> None:
    """Print a row for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--hours", type=float, default=24, help="over which all of it is spread (default %(default)s)")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--profiles", type=int, default=2_000)
    parser.add_argument("--only", default="", help="pages with this in their name")
    options = parser.parse_args()
    if not options.file.exists():
        fill(options.file, options.requests, options.lines, options.profiles, options.hours)
    print(f"{options.file.stat().st_size / 1e6:,.0f} MB")
    paths = {name: path for name, path in _pages(options.file).items() if options.only in name}
    with sides.ours(options.file) as side:
        _await_quiet(side)  # what is counted ahead is in the file from now on
        print(f"memory, MB: {side.memory() / 1e6:.0f}")
    print(f"{'page':40} {'first: CPU ms':>14} {'wall':>6} {'again: CPU ms':>14} {'wall':>6} {'kB':>6}")
    for name, path in paths.items():
        with sides.ours(options.file) as side:
            _await_quiet(side)
            size, first = _ask(side, path)
            again = [_ask(side, path)[1] for _ in range(_WARM)]
        cpu, wall = (statistics.median(getattr(one, field) for one in again) for field in ("cpu", "wall"))
        figures = f"{first.cpu:14.0f} {first.wall:6.0f} {cpu:14.0f} {wall:6.0f} {size / 1000:6.0f}"
        print(f"{name:40} {figures}", flush=True)


def _pages(path: Path) -> dict[str, str]:
    """The pages, each for the hour and the day before the newest span; from a rectangle on the top of the plot too."""
    database = Database(str(path))
    ((end,),) = database.rows("SELECT max(newest) / 1000 + 60000 FROM blocks")
    database.close()
    found = {}
    for name, length in (("hour", _HOUR), ("day", 24 * _HOUR), ("week", 7 * 24 * _HOUR)):
        time_of = urlencode({"from": end - length, "to": end})
        for page in ("/", "/traces", "/services/front", "/graph", "/incidents"):
            found[f"{page} {name}"] = f"{page}?{time_of}"
        found[f"/traces -took {name}"] = f"/traces?{time_of}&sort=-took"
        found[f"plot {name}"] = f"/api/obskit/v1/requests?{time_of}"
        found[f"cells {name}"] = f"/api/obskit/v1/cells?endTs={end}&lookback={length}"
        found[f"/logs {name}"] = f"/logs?{time_of}"
        found[f"/profiles {name}"] = f"/profiles?service=front&{time_of}"
    for name, hours, width in (("narrow", 0.3, 0.05), ("wide", 0.95, 0.9), ("day", 23, 22)):
        edges = {"from": end - int(hours * _HOUR), "to": end - int((hours - width) * _HOUR), "min": "90ms", "max": "5s"}
        found[f"rectangle {name}"] = f"/api/obskit/v1/requests?{urlencode(edges)}"
        found[f"/traces of rectangle {name}"] = f"/traces?{urlencode(edges)}"
    more = ("/profiles", "/profiles?service=back-1", "/profiles?service=front&base=1h&last=1h", "/logs", "/kubernetes")
    found |= {page: page for page in (*more, "/traces?service=nobody")}
    found["/profiles version"] = f"/profiles?service=front&version=1.1&base={quote('version:1.0')}"
    found["/logs words"] = "/logs?q=order+99"
    return found


def _ask(side: sides.Side, path: str) -> tuple[int, _Cost]:
    cpu = _cpu(side)
    body, wall = side.get(path)
    return len(body), _Cost((_cpu(side) - cpu) * 1e3, wall * 1e3)


def _cpu(side: sides.Side) -> float:
    """The CPU seconds of all threads, to the nanosecond."""
    threads = Path(f"/proc/{side.pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e9


def _await_quiet(side: sides.Side) -> None:
    """Wait until nothing is done ahead any more."""
    side.get("/health")
    while True:
        before = side.cpu()
        time.sleep(2)
        if side.cpu() - before < _QUIET:
            return


if __name__ == "__main__":
    main()
