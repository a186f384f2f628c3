"""A program that ends while it reads a response: the call has a span all the same."""

from __future__ import annotations

import pytest

from obskit.testing.client_cases.upstream import Upstream, upstream_handler
from obskit.testing.servers import http_server
from tests.export.receiver import receiver, run

BEGIN = """
import sys, obskit
receiver, url = sys.argv[1:]
obskit.init(exporter=receiver)
"""
CALLS = {
    "http.client": """
import http.client, urllib.parse
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
connection.request("GET", "/stream")
response = connection.getresponse()
""",
    "urllib": "import urllib.request; response = urllib.request.urlopen(url + '/stream')",
    "urllib3": "import urllib3; response = urllib3.request('GET', url + '/stream', preload_content=False)",
    "requests": "import requests; response = requests.get(url + '/stream', stream=True)",
    "httpx": """
import httpx
client = httpx.Client()
response = client.send(client.build_request("GET", url + "/stream"), stream=True)
""",
    "another thread": """
import threading, urllib.request
arrived = threading.Event()
def read():
    response = urllib.request.urlopen(url + "/stream")
    arrived.set()
    response.read()
threading.Thread(target=read, daemon=True).start()
arrived.wait()
""",
}
ENDS = {"the end": ("", 0), "exit": ("\nsys.exit(3)", 3), "error": ("\nraise LookupError('mine')", 1)}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_response_is_being_read_at_the_end_has_a_span(call: str, end: str) -> None:
    code, status = ENDS[end]
    upstream = Upstream()
    with http_server(upstream_handler(upstream)) as url, receiver() as server:
        done = run(BEGIN + CALLS[call] + code, server.url, url)
        upstream.go_on.set()
    assert done.returncode == status, done.stderr
    assert ("LookupError" in done.stderr) == (end == "error")
    assert [(span["kind"], span["annotations"][0]["value"]) for span in server.spans] == [
        ("CLIENT", "the process ended amid the response")
    ]
