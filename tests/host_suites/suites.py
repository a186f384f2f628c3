"""Whose tests are run: where they come from, what they need besides, and how they are started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple


class Suite(NamedTuple):
    """The tests of ``sdist`` (a requirement, as pip reads it), or of the Python that runs where that is empty.

    ``needs`` are the packages that it takes besides. ``command`` is given the file to write results to (JUnit's XML),
    and returns what Python runs, in the folder ``where`` of the sdist. ``options`` are obskit's.

    Where an sdist comes without tests, ``debian`` is the source package of Debian's that has them. ``before`` is what
    Python runs there once.
    """

    sdist: str
    needs: tuple[str, ...]
    command: Callable[[str], list[str]]
    where: str = "."
    options: Mapping[str, str] = MappingProxyType({})
    debian: str = ""
    before: tuple[str, ...] = ()


def _pytest(*arguments: str) -> Callable[[str], list[str]]:
    """Run pytest in one order; xdist, randomly and what else the environment brings have no say."""
    fixed = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "--timeout=120",
        "--continue-on-collection-errors",
    ]
    return lambda results: [*fixed, f"--junitxml={results}", *arguments]


def _unittest(*arguments: str) -> Callable[[str], list[str]]:
    return lambda results: [str(Path(__file__).with_name("unittest_runner.py")), results, *arguments]


_OWN_LOGS = {"OBSKIT_LOGS": "inherit"}  # tests of how lines look, which obskit's logs are to change


def _cpython(name: str) -> Suite:
    """A part of CPython's tests, which look at the root logger's handlers and at what goes to standard error."""
    fixed = ["-m", "test", "-v", "--timeout=300"]
    return Suite("", (), lambda results: [*fixed, f"--junit-xml={results}", name], options=_OWN_LOGS)


_DJANGO = """\
asgi builtin_server decorators dispatch handlers logging_tests middleware middleware_exceptions requests_tests responses
servers signals signed_cookies_tests template_tests test_client test_runner test_utils urlpatterns urlpatterns_reverse
utils_tests view_tests wsgi
"""

_GRPC_PROTOS = [
    *(f"src/proto/grpc/testing/{name}.proto" for name in ("empty", "messages", "test")),
    *(f"tests/testing/proto/{name}.proto" for name in ("requests", "services")),
]

SUITES = {
    "test_logging": _cpython("test_logging"),
    "test_threading": _cpython("test_threading"),
    "test_concurrent_futures": _cpython("test_concurrent_futures"),
    "test_multiprocessing_fork": _cpython("test_multiprocessing_fork"),
    "test_multiprocessing_forkserver": _cpython("test_multiprocessing_forkserver"),
    "test_multiprocessing_spawn": _cpython("test_multiprocessing_spawn"),
    "test_asyncio": _cpython("test_asyncio"),
    "requests": Suite(
        "requests", ("pytest-httpbin==2.1.0", "httpbin~=0.10.0", "pytest-mock", "trustme", "PySocks"), _pytest("tests")
    ),
    "urllib3": Suite(
        "urllib3",
        (
            "anyio[trio]",
            "h2",
            "httpx",
            "hypercorn",
            "pysocks",
            "pytest-socket",
            "quart",
            "quart-trio",
            "trustme",
        ),
        _pytest("test", "--deselect=test/contrib/emscripten"),
    ),
    "httpx": Suite(
        "httpx",
        ("trio", "trustme", "uvicorn", "chardet", "h2", "socksio", "brotli", "zstandard", "click", "rich", "pygments"),
        _pytest("tests"),
    ),
    "starlette": Suite(
        "starlette[full]",
        ("httpx2[zstd]", "blockbuster", "opentelemetry-sdk", "trio", "typing-extensions"),
        _pytest("tests"),
    ),
    "flask": Suite("flask", ("pytest<9", "asgiref", "greenlet", "python-dotenv"), _pytest("tests")),
    "werkzeug": Suite(
        "werkzeug", ("cryptography", "ephemeral-port-reserve", "watchdog"), _pytest("tests", "-k", "not reloader")
    ),
    "fastapi": Suite(
        "fastapi[all]",
        (
            "anyio[trio]",
            "dirty-equals",
            "inline-snapshot",
            "pyjwt",
            "pytest-xdist",
            "pwdlib[argon2]",
            "sqlmodel",
            "flask",
            "a2wsgi",
            "strawberry-graphql",
            "typing-extensions",
            "orjson",
            "ujson",
        ),
        _pytest("tests"),
        options=_OWN_LOGS,
    ),
    "django": Suite(
        "django",
        ("jinja2", "tblib"),
        _unittest("django", *_DJANGO.split()),
        "tests",
    ),
    "aiohttp": Suite(  # below its root, which holds the package without its compiled parts
        "aiohttp[speedups]",
        (
            "blockbuster",
            "coverage",
            "freezegun",
            "gunicorn",
            "isal",
            "pkgconfig",
            "proxy.py>=2.4.4rc5",
            "pytest-codspeed",
            "pytest-mock",
            "python-on-whales",
            "trustme",
            "uvloop",
            "zlib_ng",
        ),
        _pytest(
            ".",
            "-o",
            "addopts=",
            "-m",
            "not dev_mode and not autobahn and not internal",
            "--ignore-glob=test_benchmarks_*",
        ),
        "tests",
        _OWN_LOGS,
    ),
    "tornado": Suite(
        "tornado",
        ("pycurl", "pycares<5", "twisted", "hypothesis"),
        _unittest("tornado"),
        "docs",
        _OWN_LOGS,
    ),
    "grpcio": Suite(  # Debian has the sources of a release of 2022, whose interface is still that of the newest
        "grpcio",
        (
            "coverage",
            "grpcio-channelz",
            "grpcio-health-checking",
            "grpcio-reflection",
            "grpcio-status",
            "grpcio-testing",
            "grpcio-tools",
            "google-auth",
            "oauth2client",
            "requests",
            "setuptools",
        ),
        _pytest(  # without the tests that close the event loop which all others share
            "tests/unit",
            "tests_aio/unit",
            "-c",
            "/dev/null",
            "--rootdir=.",
            "--deselect=tests_aio/unit/outside_init_test.py",
        ),
        "src/python/grpcio_tests",
        _OWN_LOGS,
        debian="grpc",
        before=("-m", "grpc_tools.protoc", "-I../../..", "-I.", "--python_out=.", "--grpc_python_out=.", *_GRPC_PROTOS),
    ),
    "structlog": Suite(
        "structlog",
        ("pytest-asyncio", "simplejson", "time-machine", "rich", "twisted", "better-exceptions"),
        _pytest("tests"),
        options=_OWN_LOGS,
    ),
    "loguru": Suite(  # the newest sdist that has its tests
        "loguru==0.7.2",
        ("freezegun", "colorama"),
        _pytest("tests", "--ignore=tests/test_type_hinting.py"),
        options=_OWN_LOGS,
    ),
    "google-cloud-logging": Suite(
        "google-cloud-logging",
        ("mock", "flask", "django", "pytest-asyncio", "pandas"),
        _pytest("tests/unit"),
        options=_OWN_LOGS,
    ),
}

_HEADERS = "asserts every header of a call, and obskit's are among them"
_FIELDS = "compares all fields of a record made by hand, and of one by logging: only the latter has obskit's trace_id"
_ACCEPTED = "expects each attribute of a record to be refused as an extra, and obskit accepts a program's own trace_id"
_TIMING = "expected to fail, and passes where chunks arrive one by one: a matter of time"
_OWN_SPANS = "asserts that nobody else has set the tracer provider or made a span, and obskit has done both"
_TELEMETRY = "tests.test_telemetry"
_CLIENT = "tests.client.test_headers"
_SOCKETS = "test.with_dummyserver.test_socketlevel"
_MANAGER = "test.with_dummyserver.test_poolmanager.TestPoolManager"
EXPLAINED = {
    "::test.test_logging.LoggerTest.test_make_record_with_extra_overwrite": _ACCEPTED,
    "tests.test_stdlib.TestExtraAdder::test_add_extra_e2e": _FIELDS,
    "tests.test_requests.TestRequests::test_response_iter_lines_reentrant": _TIMING,
    "tests.test_proxy.TestProxy::test_proxy_dns_error": _HEADERS,
    "tests.client.test_client::test_raw_client_header": _HEADERS,
    f"{_CLIENT}::test_client_header": _HEADERS,
    f"{_CLIENT}::test_header_merge": _HEADERS,
    f"{_CLIENT}::test_header_merge_conflicting_headers": _HEADERS,
    f"{_CLIENT}::test_header_update": _HEADERS,
    f"{_CLIENT}::test_host_with_auth_and_port_in_url": _HEADERS,
    f"{_CLIENT}::test_host_with_non_default_port_in_url": _HEADERS,
    f"{_CLIENT}::test_remove_default_header": _HEADERS,
    "tests.test_asgi::test_asgi_headers": _HEADERS,
    "tests.test_main::test_auth": _HEADERS,
    "tests.test_main::test_verbose": _HEADERS,
    f"{_TELEMETRY}.test_data::test_excluded_request_does_not_use_outer_telemetry": _OWN_SPANS,
    f"{_TELEMETRY}.test_environment_integrations::test_environment_export_with_existing_integrations": _OWN_SPANS,
    f"{_TELEMETRY}.test_exceptions::test_independent_log_configuration": _OWN_SPANS,
    f"{_TELEMETRY}.test_http::test_late_global_providers_enable_existing_app": _OWN_SPANS,
    f"{_TELEMETRY}.test_runtime::test_concurrent_provider_owner_wins": _OWN_SPANS,
    f"{_TELEMETRY}.test_runtime::test_external_globals_are_unchanged_when_auto_configuration_is_disabled": _OWN_SPANS,
    f"{_TELEMETRY}.test_runtime::test_real_otlp_export_and_repeated_lifespans": _OWN_SPANS,
    f"{_MANAGER}::test_headers_http_header_dict": _HEADERS,
    f"{_MANAGER}::test_headers_http_multi_header_multipart": _HEADERS,
    f"{_MANAGER}::test_merge_headers_with_pool_manager_headers": _HEADERS,
    f"{_SOCKETS}.TestContentFraming::test_chunked_not_specified": _HEADERS,
    f"{_SOCKETS}.TestContentFraming::test_chunked_specified": _HEADERS,
    f"{_SOCKETS}.TestContentFraming::test_framing_set_via_headers": _HEADERS,
    f"{_SOCKETS}.TestHeaders::test_headers_are_sent_with_the_original_case": _HEADERS,
    f"{_SOCKETS}.TestHeaders::test_ua_header_can_be_overridden": _HEADERS,
    f"{_SOCKETS}.TestProxyManager::test_simple": _HEADERS,
}
"""Tests, whatever their parameters, that differ and rightly so.

docs/reliability.md has the list as well.
"""
