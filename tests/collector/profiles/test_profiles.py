"""Profiles: in by ``POST /ingest``, kept once and bounded, out as a flame graph."""

import gzip
import re
import time

import pytest

from obskit.base.pprof import Location, Profile, Sample, ValueType, encode
from obskit.collector.options import Options
from obskit.collector.profiles.flame import Choice, added, fold, nodes
from obskit.collector.profiles.stacks import of_samples
from obskit.collector.profiles.store import Kept, ProfileStore
from obskit.collector.server import CollectorServer
from obskit.collector.store.spans import SpanStore
from tests.collector.conftest import client_of

TRACE = "5b8efff798038103d269b633813fc60c"
NOW = int(time.time() * 1_000_000)
PLACES = {"main": 3, "work": 5, "parse": 7}
MAIN, WORK, PARSE = (Location(name, f"/app/{name}.py", 1, line) for name, line in PLACES.items())
LOADS = Location("loads", "/usr/lib/python3.13/json/__init__.py", 1, 9)


def sample(stack, value, **labels):
    return Sample(tuple(reversed(stack)), (1, value), tuple((k.replace("__", "."), v) for k, v in labels.items()))


SAMPLES = [
    sample([MAIN, WORK, PARSE], 600_000_000, http__route="/a", trace_id=TRACE, thread="one"),
    sample([MAIN, WORK, LOADS], 300_000_000, http__route="/b", thread="two"),
    sample([MAIN], 100_000_000, thread="two"),
]


def pprof(samples=SAMPLES, kind="cpu", begun=NOW):
    types = (ValueType("samples", "count"), ValueType(kind, "nanoseconds"))
    return encode(Profile(types, samples, types[1], 10_000_000, begun * 1000, 10**10))


def ingest(client, body, query="name=shop&format=pprof", **headers):
    return client.post(body, f"/ingest?{query}", **headers)


def frames(page):
    return re.findall(r"<title>(.*?)</title><rect", page.text)


def test_a_profile_is_shown(client):
    assert ingest(client, pprof()).status == 200
    page = client.get("/profiles")
    assert frames(page) == [
        "all: 1 s, 100.0 %",
        "main (/app/main.py:3): 1 s, 100.0 %",
        "work (/app/work.py:5): 900 ms, 90.0 %",
        "parse (/app/parse.py:7): 600 ms, 60.0 %",
        "loads (/usr/lib/python3.13/json/__init__.py:9): 300 ms, 30.0 %",
    ]
    assert re.findall(r'<rect class="(\w+)"', page.text) == ["whole", "own", "own", "own", "library"]
    assert "app/parse.py:7" in page.text.partition("Hottest lines")[2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("route=/b", ["all", "main", "work", "loads"]),
        (f"trace={TRACE}", ["all", "main", "work", "parse"]),
        (f"trace={'a' * 32}", []),
        ("frame=work", ["all", "work", "parse", "loads"]),
        ("by=http.route", ["all", "/a", "/b", "(none)", "main", "work", "parse", "main", "work", "loads", "main"]),
        ("from=1&to=2", []),
        ("last=1h&type=cpu&service=shop", ["all", "main", "work", "parse", "loads"]),
    ],
)
def test_the_samples_that_are_asked_for_are_added_up(client, query, expected):
    ingest(client, pprof())
    found = [text.split(" (/")[0].split(":")[0] for text in frames(client.get(f"/profiles?{query}"))]
    assert sorted(found) == sorted(expected)


def test_a_function_shows_who_calls_it_and_what_it_calls(client):
    ingest(client, pprof())
    text = client.get("/profiles?frame=work").text
    assert "main</a>" in text.partition("Called by")[2].partition("</table>")[0]
    assert "parse</a>" in text.partition("<caption>Calls")[2].partition("</table>")[0]


def test_what_is_marked_is_counted(client):
    ingest(client, pprof())
    assert "1 function marked; they themselves take 600 ms, 60.0 %" in client.get("/profiles?find=PARSE").text


def test_profiles_are_added_up_and_each_is_stored_once(client):
    for begun in (NOW, NOW, NOW + 60_000_000):
        ingest(client, pprof(begun=begun))
    ingest(client, pprof(kind="wall"))
    page = client.get("/profiles?type=cpu")
    assert "2 s in 2 profiles" in page.text
    assert '<option value="wall"' in page.text


def test_pyroscopes_form_labels_and_folded_stacks(client):
    body = b'--XX\r\nContent-Disposition: form-data; name="profile"; filename="a"\r\n\r\n' + pprof() + b"\r\n--XX--\r\n"
    form = {"content_type": 'multipart/form-data; boundary="XX"'}
    answer = ingest(
        client, body, "name=orders.cpu%7Broute=%22/a%20b%22,env=prod%7D&from=1769868000&until=1769868010", **form
    )
    assert answer.status == 200
    assert "1 s in 1 profile" in client.get("/profiles?service=orders").text
    assert ingest(client, b"main;work 3\nmain 1\n", "name=stock&format=folded").status == 200
    assert "4 samples in 1 profile" in client.get("/profiles?service=stock").text


@pytest.mark.parametrize(
    ("body", "query", "status", "reason"),
    [
        (b"rubbish", "name=a&format=pprof", 400, "not a pprof profile"),
        (pprof()[:-20], "name=a&format=pprof", 400, ""),
        (pprof(), "format=pprof", 400, "name=orders"),
        (b"no number here", "name=a", 400, "no folded stack"),
        (gzip.compress(gzip.compress(b"x")), "name=a&format=pprof", 400, "twice"),
        (gzip.compress(b"\x0a" * 5_000_000), "name=a&format=pprof", 413, "4194304"),
        (gzip.compress(b"\x0a" * 50_000_000), "name=a&format=pprof", 413, "bytes"),
        (b"--XX\r\n\r\nx", "name=a", 400, ""),
    ],
    ids=range(8),  # what is compressed here has the time in it, and the workers' names of tests must not differ
)
def test_what_is_no_profile_is_refused(shared, body, query, status, reason):
    answer = ingest(shared, body, query)
    assert answer.status == status
    assert reason in answer.text


def test_a_form_without_a_profile_is_refused(shared):
    assert ingest(shared, b"--XX--", content_type="multipart/form-data; boundary=XX").status == 400
    assert ingest(shared, b"", content_type="multipart/form-data").status == 400


def test_a_trace_shows_its_profile_or_that_of_its_route(client):
    root = {"id": "a1", "timestamp": NOW, "duration": 9, "name": "get /a", "localEndpoint": {"serviceName": "shop"}}
    client.post([{**root, "traceId": TRACE}, {**root, "traceId": "b1", "tags": {"http.route": "/b"}}])
    assert "Profile</h2>" not in client.get(f"/traces/{TRACE}").text
    ingest(client, pprof())
    ingest(client, pprof(kind="wall"))
    text = client.get(f"/traces/{TRACE}").text.partition("Profile</h2>")[2]
    assert "in the samples of this request, wall: 600 ms." in text
    assert "parse.py:7" in text
    assert f'href="/profiles?service=shop&amp;type=wall&amp;trace={TRACE}&amp;frame=work"' in text
    text = client.get("/traces/b1").text.partition("Profile</h2>")[2]
    assert "No sample saw this request. All requests of /b in the hour around it, wall: 300 ms." in text
    ingest(client, pprof(begun=NOW + 7_200_000_000))
    assert "300 ms." in client.get("/traces/b1").text


OUTER = [Location(f"outer{number}", "/usr/lib/python3.13/site-packages/server.py", 1, number) for number in range(6)]


def test_a_trace_leaves_out_what_servers_and_frameworks_call_around_the_application(client):
    samples = [
        sample([*OUTER, WORK, PARSE], 3_000_000, trace_id=TRACE),
        sample([*OUTER, WORK], 1_000_000, trace_id=TRACE),
    ]
    ingest(client, pprof(samples))
    page = client.get(f"/traces/{TRACE}")
    assert [frame.split(" (")[0].split(":")[0] for frame in frames(page)] == ["all", "work", "parse"]
    assert "6 outer calls of libraries" in page.text
    assert "outer" not in page.text.partition("Functions: with")[2]
    assert "outer0" in client.get(f"/profiles?service=shop&type=cpu&trace={TRACE}").text


@pytest.mark.parametrize(
    "stacks",
    [
        [[*OUTER[:4], WORK]],  # few
        [OUTER],  # nothing of the application's
        [[*OUTER, WORK], [MAIN, WORK]],  # not shared
        [[MAIN, *OUTER, WORK]],  # within the application
    ],
)
def test_otherwise_a_trace_leaves_out_no_call(client, stacks):
    ingest(client, pprof([sample(stack, 1_000_000, trace_id=TRACE) for stack in stacks]))
    page = client.get(f"/traces/{TRACE}")
    assert len(frames(page)) == 1 + sum(map(len, stacks))
    assert "outer calls" not in page.text


def test_a_trace_without_spans_is_a_page_of_its_profile(client):
    ingest(client, pprof())
    page = client.get(f"/traces/{TRACE}")
    assert page.status == 200
    assert "in the samples of this request, cpu: 600 ms." in page.text
    assert client.get(f"/find?q={TRACE}").status == 302


def test_origin_and_token(shared):
    assert ingest(shared, pprof(), origin="http://elsewhere").status == 403
    with CollectorServer(options=Options(token="secret")) as server:
        assert ingest(client_of(server), pprof()).status == 401


def test_a_bad_form_says_what_is_wrong(client):
    assert client.get("/profiles").status == 200
    ingest(client, pprof())
    for query in ("by=x", "trace=xyz", "last=soon"):
        assert client.get(f"/profiles?{query}").status == 400


def test_everything_is_escaped(client):
    bad = Location("<b>'\"&", "<i>.py", 1, 1)
    ingest(client, pprof([sample([bad], 5_000_000, http__route="<u>")]), "name=%3Cb%3E&format=pprof")
    for query in ("", "?frame=%3Cb%3E%27%22%26", "?find=%3Cb%3E", "?route=%3Cu%3E"):
        text = client.get(f"/profiles{query}").text
        assert not any(mark in text for mark in ("<b>", "<i>", "<u>"))


def test_a_noisy_service_leaves_a_quiet_one_its_share():
    spans = SpanStore()
    store = ProfileStore(spans.database, max_bytes=20_000)
    stacks = of_samples([([(f"f{number}", "", 0)], 1, ()) for number in range(50)])
    store.add(Kept("quiet", "cpu", "", 1, 2), stacks)
    for number in range(200):
        store.add(Kept("noisy", "cpu", "", number, number + 1), stacks)
    ((size,),) = spans.database.rows("SELECT sum(size) FROM profiles")
    assert size <= 20_000
    assert store.extent("quiet", "cpu")[0] == 1
    newest = store.numbers("noisy", "cpu", 0, 10**18)
    assert len(list(store.read(newest))) == len(newest) > 10
    spans.close()


def test_a_damaged_profile_is_left_out(client, tmp_path):
    spans = SpanStore()
    store = ProfileStore(spans.database)
    store.add(Kept("a", "cpu", "", 1, 2), of_samples([([("f", "", 0)], 1, ())]))
    with spans.database.transaction() as connection:
        connection.execute("UPDATE profiles SET data = x'00'")
    assert list(store.read([1])) == []
    spans.close()


def test_beyond_8192_calls_the_smallest_are_left_out_and_counted():
    stacks = of_samples([([("main", "", 0), (f"f{number}", "", 0)], number + 1, ()) for number in range(10_000)])
    flame = fold(added([stacks]), Choice())
    assert sum(1 for _ in nodes(flame.root)) == 8_192
    assert flame.cut == 10_002 - 8_192
    assert flame.root.value == sum(range(10_001))


@pytest.mark.parametrize("width", [390, 1280, 3840])
def test_the_page_in_a_browser(browser, client, width):
    long = Location("f" * 300, "/x" * 300 + ".py", 1, 1)
    ingest(client, pprof([*SAMPLES, sample([MAIN, long], 50_000_000)]))
    tab = browser.tab(width, 800).open("http://{}:{}/profiles".format(*client.address))
    assert tab.problems == []
    assert tab.overflow <= 0
    assert "frame=work" in tab.run("document.querySelector('.flame a:nth-of-type(3)').getAttribute('href')")
