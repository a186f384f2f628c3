"""A sample says which request its thread was serving."""

from __future__ import annotations

from pathlib import Path

import pytest

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
