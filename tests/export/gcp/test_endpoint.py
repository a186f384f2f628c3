"""Where Google's APIs are, and which servers get credentials: one rule for spans, log entries and profiles."""

from __future__ import annotations

import pytest

from obskit.export.cloud_trace.exporter import parse_url
from obskit.export.gcp.endpoint import ApiEndpoint, read_endpoint
from obskit.logs.cloud.handler import CloudLoggingHandler
from obskit.profiling.cloud_profiler import CloudProfilerOutput
from obskit.profiling.cloud_profiler_endpoint import find_api

KEY = {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
ENDPOINTS = [
    ("https://trace.internal", {}, ApiEndpoint("https://trace.internal", anonymous=False)),
    ("https://trace.internal/p/", {}, ApiEndpoint("https://trace.internal/p", anonymous=False)),
    ("http://trace.internal:8080", {}, ApiEndpoint("http://trace.internal:8080", anonymous=True)),
    ("http://trace.internal", KEY, ApiEndpoint("http://trace.internal", anonymous=True)),
    ("https://localhost:1", {}, ApiEndpoint("https://localhost:1", anonymous=True)),
    ("https://127.0.0.2", {}, ApiEndpoint("https://127.0.0.2", anonymous=True)),
    ("https://[::1]:1", {}, ApiEndpoint("https://[::1]:1", anonymous=True)),
    ("https://localhost:1", KEY, ApiEndpoint("https://localhost:1", anonymous=False)),
    ("http://localhost:1", KEY, ApiEndpoint("http://localhost:1", anonymous=True)),
]
BAD = ["localhost:80", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://x?y", "http://x#y", "grpc://x:1"]
PASSWORDS = ["https://me:hunter2@x", "me:hunter2@x:443", "https://me:hun/ter2@x", "http://me:hunter2@"]


@pytest.mark.parametrize(("text", "environ", "expected"), ENDPOINTS)
def test_credentials_go_to_google_or_by_tls_to_who_was_named(text, environ, expected):
    assert read_endpoint("endpoint", text, environ) == expected
    assert parse_url("cloudtrace://p", {**environ, "OBSKIT_CLOUDTRACE_ENDPOINT": text}).endpoint == expected
    assert find_api({**environ, "OBSKIT_CLOUDPROFILER_ENDPOINT": text}) == expected


def test_where_no_variable_says_otherwise_the_apis_are_googles():
    assert parse_url("cloudtrace://p", {}).endpoint == ("https://cloudtrace.googleapis.com", False, False)
    assert find_api({}) == ("https://cloudprofiler.googleapis.com", False, False)


@pytest.mark.parametrize(
    ("text", "key_file", "expected"),
    [
        ("logging.googleapis.com", None, ApiEndpoint("logging.googleapis.com:443", anonymous=False, grpc=True)),
        ("localhost:8085", None, ApiEndpoint("localhost:8085", anonymous=True, grpc=True)),
        ("localhost:8085", "key.json", ApiEndpoint("localhost:8085", anonymous=False, grpc=True)),
        ("http://proxy:8080", "key.json", ApiEndpoint("http://proxy:8080", anonymous=True)),
    ],
)
def test_a_host_without_a_scheme_is_for_grpc_over_tls_where_that_is_spoken(text, key_file, expected):
    assert read_endpoint("endpoint", text, {}, key_file, may_be_grpc=True) == expected


@pytest.mark.parametrize("text", BAD)
def test_another_endpoint_is_an_error_that_names_the_variable(monkeypatch, text):
    with pytest.raises(ValueError, match=r"OBSKIT_CLOUDTRACE_ENDPOINT=.* must be the http"):
        parse_url("cloudtrace://p", {"OBSKIT_CLOUDTRACE_ENDPOINT": text})
    monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", text)
    with pytest.raises(ValueError, match=r"OBSKIT_CLOUDPROFILER_ENDPOINT=.* must be the http"):
        CloudProfilerOutput(("CPU",), "orders")


@pytest.mark.parametrize("text", ["ftp://here", "https://", ":443", "host:port", "host?x"])
def test_another_endpoint_for_log_entries_is_an_error_that_names_argument_or_variable(monkeypatch, text):
    with pytest.raises(ValueError, match=r"endpoint=.* must be the http"):
        CloudLoggingHandler("orders", endpoint=text)
    monkeypatch.setenv("OBSKIT_CLOUDLOGGING_ENDPOINT", text)
    with pytest.raises(ValueError, match=r"OBSKIT_CLOUDLOGGING_ENDPOINT=.* must be the http"):
        CloudLoggingHandler("orders")


@pytest.mark.parametrize("text", PASSWORDS)
def test_a_password_in_an_endpoint_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError, match="must hold no user or password") as caught:
        read_endpoint("endpoint", text, {}, may_be_grpc=True)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
