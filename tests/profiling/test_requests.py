"""A sample says which request its thread was serving."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from obskit.profiling import request_finder
from tests.profiling.profiles import ReadProfile, innermost, read, run

FLASK = """
import obskit, flask
app = flask.Flask("shop")

@app.get("/heavy/<int:number>")
def heavy(number):
    burn(.03)
    return obskit.current_span().trace_id or ""

@app.get("/stream")
def stream():
    def body():
        for _ in range(3):
            burn(.02)
            yield "x"
    return flask.Response(body())

@app.get("/fails")
def fails():
    burn(.02)
    raise ValueError("oh")

begin()
client = app.test_client()
for number in range(15):
    print(client.get(f"/heavy/{number}").text)
    client.get("/stream").data
    client.get("/fails")
    burn(.01)
"""

FAST = {"OBSKIT_PROFILER_HZ": "500"}


def routes(profile: ReadProfile, *functions: str) -> dict[str, set[str | None]]:
    """Return, for each function, the routes of the samples in it."""
    found: dict[str, set[str | None]] = {name: set() for name in functions}
    which = innermost(*functions)
    for sample in profile.samples:
        if (name := which(sample)) is not None:
            found[name].add(sample.labels.get("http.route"))
    return found


def run_app(code: str, folder: Path, **extra: str) -> str:
    return run(code, folder, **{**FAST, "OBSKIT_LOGS": "json", **extra}).stdout


def test_samples_of_a_flask_application_have_route_and_trace(tmp_path: Path) -> None:
    printed = run_app(FLASK, tmp_path).split("\n")
    profile = read(tmp_path, "wall")
    expected = {"heavy": {"/heavy/<int:number>"}, "body": {"/stream"}, "fails": {"/fails"}}
    assert routes(profile, "heavy", "body", "fails") == expected
    traces = {s.labels["trace_id"] for s in profile.samples if s.labels.get("http.route") == "/heavy/<int:number>"}
    assert len(traces) > 10
    assert traces <= set(printed)
    outside = [s for s in profile.samples if s.functions[-2:-1] == ["burn"]]
    assert not any(sample.labels.keys() & {"http.route", "trace_id"} for sample in outside)


def test_the_route_is_known_of_requests_that_are_not_recorded(tmp_path: Path) -> None:
    run_app(FLASK, tmp_path, OBSKIT_SAMPLE_RATE="0")
    assert routes(read(tmp_path, "wall"), "heavy", "fails") == {"heavy": {"/heavy/<int:number>"}, "fails": {"/fails"}}


def test_an_exception_and_what_it_holds_is_not_kept_alive(tmp_path: Path) -> None:
    code = """
import gc, weakref
class Big: pass
references = []
def fail():
    big = Big()
    references.append(weakref.ref(big))
    burn(.05)
    raise ValueError("oh")
app.view_functions["fails"] = fail
client.get("/fails").close()
client.get("/heavy/1").close()
gc.collect()
assert references[0]() is None
"""
    run_app(FLASK + code, tmp_path)


FASTAPI = """
import asyncio, concurrent.futures, contextvars, fastapi, httpx, obskit, threading
app = fastapi.FastAPI()

@app.get("/worker/{number}")
def worker(number: int):
    burn(.02)

@app.get("/direct/{number}")
async def direct(number: int):
    burn(.02)

async def child():
    await asyncio.sleep(0)
    burn(.02)

@app.get("/tasks")
async def tasks():
    await asyncio.gather(asyncio.create_task(child()), asyncio.create_task(child()))

def callback():
    burn(.02)

@app.get("/callback")
async def call_later():
    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(.001)

def pooled():
    burn(.02)

@app.get("/pool")
async def pool():
    await asyncio.to_thread(pooled)

async def background():
    while True:
        burn(.005)
        await asyncio.sleep(.001)

async def main():
    noise = asyncio.create_task(background())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        for _ in range(12):
            names = ("worker/1", "direct/1", "tasks", "callback", "pool")
            await asyncio.gather(*(client.get("/" + name) for name in names))
    noise.cancel()

begin()
asyncio.run(main())
"""


def test_samples_of_asyncio_tasks_callbacks_and_worker_threads_have_the_route_of_their_request(tmp_path: Path) -> None:
    run_app(FASTAPI, tmp_path)
    assert routes(read(tmp_path, "wall"), "worker", "direct", "child", "callback", "pooled", "background") == {
        "worker": {"/worker/{number}"},
        "direct": {"/direct/{number}"},
        "child": {"/tasks"},
        "callback": {"/callback"},
        "pooled": {"/pool"},
        "background": {None},
    }


DJANGO = """
import django, django.urls, obskit
from django.conf import settings
from django.http import HttpResponse

def order(request, number):
    burn(.03)
    return HttpResponse("x")

urlpatterns = [django.urls.path("orders/<int:number>/", order)]
begin(integrations={integrations!r})
settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], MIDDLEWARE={middleware!r})
django.setup()
from django.core.wsgi import get_wsgi_application
from werkzeug.test import Client
client = Client(get_wsgi_application())
for number in range(12):
    with client.get(f"/orders/{{number}}/") as response:
        assert response.status_code == 200
"""


@pytest.mark.parametrize(
    ("integrations", "middleware"), [(None, []), ([], ["obskit.integrations.django.ObskitMiddleware"])]
)
def test_samples_of_a_django_application_have_its_route(tmp_path: Path, integrations, middleware) -> None:
    run_app(DJANGO.format(integrations=integrations, middleware=middleware), tmp_path)
    assert routes(read(tmp_path, "wall"), "order") == {"order": {"/orders/<int:number>/"}}


def test_a_thread_that_a_request_starts_has_its_route(tmp_path: Path) -> None:
    code = """
import threading
def job(): burn(.1)
@app.get("/starts")
def starts():
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    return ""
client.get("/starts")
"""
    head, _ = FLASK.split("begin()")
    run_app(head + code.replace("client.get", "begin()\nclient = app.test_client()\nclient.get"), tmp_path)
    assert routes(read(tmp_path, "wall"), "job") == {"job": {"/starts"}}


def test_a_task_whose_request_cannot_be_told_is_labelled_so(tmp_path: Path) -> None:
    """An event loop of another kind, here the plainest one, does not show the context that a task runs in."""
    code = """
import obskit
async def task():
    burn(.5)
begin()
try: task().send(None)
except StopIteration: pass
burn(.3)
"""
    run_app(code, tmp_path)
    profile = read(tmp_path, "wall")
    assert routes(profile, "task") == {"task": {"(unknown)"}}
    assert None in {s.labels.get("http.route") for s in profile.samples if "task" not in s.functions}


# What a request may start, and what is then idle: the first for as long as the request goes on, all once it is over.
IDLE = {
    "a pool's thread": "pool(concurrent.futures.ThreadPoolExecutor(1)).submit(str).result()",
    "a pool of multiprocessing's": "pool(multiprocessing.pool.ThreadPool(2)).map(str, range(9))",
    "a thread that waits for a queue": "start(queue.Queue().get)",
    "a thread that waits for an event": "start(threading.Event().wait)",
    "a timer": "timer()",
    "an event loop on a thread": "start(asyncio.new_event_loop().run_forever)",
    "a thread that waits for a queue written in C": "start(queue.SimpleQueue().get)",
    "a thread that sleeps": "start(time.sleep, 60)",
    "a thread that does a little now and then": "start(lambda: [time.sleep(.2) for _ in range(99)])",
    "a thread that waits for a socket": "start(sockets[0].recv, 1)",
}

IDLE_PROGRAM = """
import asyncio, concurrent.futures, flask, multiprocessing.pool, queue, socket, threading
app = flask.Flask("shop")
sockets = socket.socketpair()
kept = []

def start(target, *arguments):
    threading.Thread(target=target, args=arguments, daemon=True).start()

def pool(made):
    kept.append(made)
    return made

def timer():
    made = threading.Timer(60, str)
    made.daemon = True
    made.start()

@app.get("/starts/<float:seconds>")
def starts(seconds):
    kept.append({what})
    time.sleep(seconds)
    return ""

begin()
client = app.test_client()
client.get("/starts/{seconds}")
time.sleep(.05)  # a sample or two more may find it on its way
time.sleep({after})
for one in kept:
    getattr(one, "terminate", str)()
"""


def seconds_by_route(profile: ReadProfile) -> dict[str | None, float]:
    found: dict[str | None, float] = {}
    for sample in profile.samples:
        route = sample.labels.get("http.route")
        found[route] = found.get(route, 0.0) + sample.values[-1] / 1e9
    return found


@pytest.mark.parametrize("what", IDLE.values(), ids=IDLE)
def test_what_idles_after_the_request_that_started_it_is_not_charged_to_it(what: str, tmp_path: Path) -> None:
    run_app(IDLE_PROGRAM.format(what=what, seconds="0.0", after=1.5), tmp_path)
    found = seconds_by_route(read(tmp_path, "wall"))
    assert found.pop("/starts/<float:seconds>", 0) < 0.3
    assert found[None] > 2.5  # the main thread and at least one other


@pytest.mark.parametrize("what", list(IDLE.values())[:6], ids=list(IDLE)[:6])
def test_what_waits_for_work_is_not_charged_to_a_request_that_goes_on(what: str, tmp_path: Path) -> None:
    run_app(IDLE_PROGRAM.format(what=what, seconds="1.5", after=0), tmp_path)
    found = seconds_by_route(read(tmp_path, "wall"))
    assert 1.3 < found["/starts/<float:seconds>"] < 2


def test_idle_worker_threads_of_asyncio_and_anyio_belong_to_nothing(tmp_path: Path) -> None:
    head, _ = FASTAPI.split("async def main")
    code = """
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        await client.get("/pool")
        await client.get("/worker/1")
    await asyncio.sleep(1.5)

begin()
asyncio.run(main())
"""
    run_app(head + code, tmp_path)
    found = seconds_by_route(read(tmp_path, "wall"))
    assert found["/pool"] < 0.3
    assert found["/worker/{number}"] < 0.3
    assert found[None] > 3.5


def test_a_pool_that_a_request_started_is_not_charged_to_it_for_the_work_of_others(tmp_path: Path) -> None:
    code = """
import concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor(1)
def nobodys(): burn(.1)
def others(): burn(.1)
@app.get("/first")
def first(): return pool.submit(str).result()
@app.get("/second")
def second(): return str(pool.submit(others).result())
begin()
client = app.test_client()
client.get("/first")
pool.submit(nobodys).result()
client.get("/second")
"""
    head, _ = FLASK.split("begin()")
    run_app(head + code, tmp_path)
    assert routes(read(tmp_path, "wall"), "nobodys", "others") == {"nobodys": {None}, "others": {"/second"}}


def test_work_that_outlives_its_request_has_its_route_only_as_its_spans_do(tmp_path: Path) -> None:
    """What a pool was given is the request's until it is done, but for its waits; a thread's is not for longer."""
    code = """
import concurrent.futures, threading
def submitted(): burn(.3)
def waiting(): time.sleep(1)
def started(): burn(.3)
def both():
    submitted()
    waiting()
@app.get("/starts")
def starts():
    pool.submit(both)
    threading.Thread(target=started).start()
    return ""
pool = concurrent.futures.ThreadPoolExecutor(1)
begin()
app.test_client().get("/starts")
pool.shutdown()
"""
    head, _ = FLASK.split("begin()")
    run_app(head + code, tmp_path)
    profile = read(tmp_path, "wall")

    def seconds(function: str) -> tuple[float, float]:
        found = [(s.labels.get("http.route"), s.values[-1] / 1e9) for s in profile.samples if function in s.functions]
        return sum(time for route, time in found if route), sum(time for route, time in found if not route)

    assert seconds("submitted")[0] > 5 * seconds("submitted")[1]
    assert seconds("waiting")[0] < 0.3 < seconds("waiting")[1]
    assert seconds("started")[0] < 0.1 < seconds("started")[1]


def test_each_frame_that_may_know_a_request_is_where_it_is_looked_for() -> None:
    """Who moves or renames a function, or its variable, finds out here."""
    root = Path(request_finder.__file__).parent.parent
    for (file, function), (variable, attribute) in request_finder._PLACES.items():
        path = root / file
        if not path.exists():
            assert file.startswith(("asyncio/", "_backends/"))  # of other projects: the tests above run them
            continue
        found = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "name", None) == function]
        assert found, f"{file} has no {function}"
        looked_at = f"{variable}.{attribute}" if attribute else variable
        assert any(looked_at in ast.unparse(node) for node in found), f"{function} in {file} has no {looked_at}"
