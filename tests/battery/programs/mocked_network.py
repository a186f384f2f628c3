"""Delivery amid a test that mocks what connections are made of: the mocks are the test's own."""

import http.client
import socket
import ssl
import urllib.request
from contextlib import ExitStack
from unittest import mock

from side import flush, span

MOCKED = [
    (http.client, "HTTPConnection"),
    (http.client.HTTPConnection, "request"),
    (http.client, "HTTPResponse"),
    (socket, "socket"),
    (socket, "getaddrinfo"),
    (socket, "create_connection"),
    (ssl, "create_default_context"),
    (urllib.request, "urlopen"),
]
for _ in range(5):
    with ExitStack() as stack:
        mocks = [stack.enter_context(mock.patch.object(owner, name)) for owner, name in MOCKED]
        with span("tested"):
            urllib.request.urlopen("http://service/")
        flush(20)
        print([len(one.mock_calls) for one in mocks])
