"""Where each option comes from, what it accepts, and how it complains."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from obskit.export import destinations
from obskit.settings import OPTIONS, ConfigurationError, Settings, changes, load
from obskit.tracing.limits import LimitSettings
from obskit.tracing.sampling.rules import Rule

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


def said(settings, name):
    """What a setting is, destinations as the program named them."""
    value = getattr(settings, name)
    return tuple(one.target for one in value) if name == "exporter" else value


# name: (an argument, the variable's text, the setting both stand for)
EXAMPLES = {
    "enabled": (False, "off", False),
    "service": ("orders", " orders ", "orders"),
    "version": ("1.4", "1.4", "1.4"),
    "environment": ("prod", "prod", "prod"),
    "exporter": (["console", "http://z"], "console, http://z", ("console", "http://z")),
    "collector": ("http://c:9411/", "http://c:9411", "http://c:9411"),
    "zipkin_encoding": ("proto3", " proto3", "proto3"),
    "sample_rate": (0.25, "0.25", 0.25),
    "sample_rules": ([{"path": "/a*", "rate": 0}], '[{"path": "/a*", "rate": 0}]', (Rule(path=("/a*",), rate=0.0),)),
    "sample_limit": (10, "10", 10),
    "inbound_limit": (10, "10", 10),
    "keep_errors": (True, "yes", True),
    "keep_slow": (0.5, "0.5", 0.5),
    "backpressure": (False, "off", False),
    "exclude": (["/health", "curl"], "/health, curl", ("/health", "curl")),
    "trust_incoming": (["10.0.0.0/8", "::1"], "10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")),
    "propagation": (["b3", "w3c"], "b3, w3c", ("b3", "w3c")),
    "propagate_to": (["orders", "*.internal:80"], "orders, *.internal:80", ("orders", "*.internal:80")),
    "logs": ("inherit", "inherit", "inherit"),
    "mask_keys": (["iban"], "iban", ("iban",)),
    "request_log": (True, "on", True),
    "integrations": (["flask", "requests"], "flask,requests,", ("flask", "requests")),
    "disable": (["flask"], "flask", ("flask",)),
    "opentelemetry": ("off", " off", "off"),
    "project": ("my-project", "my-project", "my-project"),
    "queue_size": (5, "5", 5),
    "queue_bytes": (1_000_000, "1000000", 1_000_000),
    "batch_size": (7, "7", 7),
    "flush_interval": (0, "0", 0),
    "export_timeout": (2.5, "2.5", 2.5),
    "exit_timeout": (1, "1", 1),
    "response_flush": (0.2, "0.2", 0.2),
    "spool": ("/var/spool/obskit", "/var/spool/obskit", "/var/spool/obskit"),
    "spool_bytes": (200_000, "200000", 200_000),
    "spool_age": (60, "60", 60),
    "spool_write_through": (True, "yes", True),
    "profiler": ("builtin", "builtin", "builtin"),
    "profiler_output": ("/tmp/profiles", "/tmp/profiles", "/tmp/profiles"),
    "profiler_hz": (250, "250", 250),
    "profiler_duration": (5, "5", 5),
    "profiler_interval": (30, "30", 30),
    "profiler_heap": (True, "yes", True),
}

# name: (the ecosystem's variables, the setting)
ECOSYSTEM = [
    ("enabled", {"OTEL_SDK_DISABLED": "true"}, False),
    ("enabled", {"OTEL_SDK_DISABLED": "False"}, True),
    ("service", {"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.name=b", "K_SERVICE": "c"}, "a"),
    ("service", {"OTEL_RESOURCE_ATTRIBUTES": " x=1 , service.name = b%20c ", "K_SERVICE": "c"}, "b c"),
    ("service", {"OTEL_RESOURCE_ATTRIBUTES": "x=1,broken", "K_SERVICE": "c", "GAE_SERVICE": "d"}, "c"),
    ("service", {"GAE_SERVICE": "d"}, "d"),
    ("service", {"AWS_LAMBDA_FUNCTION_NAME": "e"}, "e"),
    ("version", {"OTEL_RESOURCE_ATTRIBUTES": "service.version=2"}, "2"),
    ("version", {"K_REVISION": "orders-0001"}, "orders-0001"),
    ("version", {"GAE_VERSION": "v3"}, "v3"),
    ("environment", {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=old"}, "old"),
    (
        "environment",
        {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=old,deployment.environment.name=new"},
        "new",
    ),
    ("exporter", {"OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://z:1/x"}, ("http://z:1/x",)),
    ("sample_rate", {"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
    ("sample_rate", {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
    ("sample_rate", {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.1),
    ("sample_rate", {"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
    ("sample_rate", {"OTEL_TRACES_SAMPLER": "jaeger_remote", "OTEL_TRACES_SAMPLER_ARG": "endpoint=x"}, 1.0),
    ("propagation", {"OTEL_PROPAGATORS": "tracecontext,baggage,b3"}, ("w3c", "b3")),
    ("propagation", {"OTEL_PROPAGATORS": "baggage"}, ("b3multi",)),
    ("propagation", {"OTEL_PROPAGATORS": "none"}, ()),
    ("project", {"GOOGLE_CLOUD_PROJECT": "g", "PROJECT_ID": "p"}, "g"),
    ("project", {"PROJECT_ID": "p"}, "p"),
    ("queue_size", {"OTEL_BSP_MAX_QUEUE_SIZE": "9"}, 9),
    ("batch_size", {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9"}, 9),
    ("flush_interval", {"OTEL_BSP_SCHEDULE_DELAY": "1500"}, 1.5),
    ("export_timeout", {"OTEL_BSP_EXPORT_TIMEOUT": "250"}, 0.25),
]

BAD = [
    ("enabled", "maybe", "true or false"),
    ("service", "  ", "not blank"),
    ("service", 5, "text"),
    ("version", b"1", "text"),
    ("environment", " ", "not blank"),
    ("exporter", "zipkin:9411", "http(s)://"),
    ("exporter", "http://", "no host"),
    ("exporter", "http://h:99999", "ort"),
    ("exporter", "http://h:0", "its port is not"),
    ("exporter", "http://h/a b", "percent-encode"),
    ("exporter", "http://h/é", "percent-encode"),
    ("exporter", "http://[::1", "http(s)://"),
    ("exporter", "", "http(s)://"),
    ("exporter", ["console", "ftp://h"], "'ftp'"),
    ("exporter", "grpc://h", "a port"),
    ("exporter", "grpc://h:9411/path", "nothing else"),
    ("exporter", "grpcs://h:9411#a", "nothing else"),
    ("exporter", "grpc://h :9411", "characters"),
    ("exporter", "otel:nothing_of_this_name", "console"),
    ("exporter", 5, "SpanExporter"),
    ("collector", "c:9411", "without a path"),
    ("collector", "http://c:9411/api/v2/spans", "without a path"),
    ("collector", "http://", "without a path"),
    ("collector", "http://a, http://b", "without a path"),
    ("collector", "console", "without a path"),
    ("collector", 9411, "text"),
    ("sample_rate", 1.1, "from 0 to 1"),
    ("sample_rate", "50%", "from 0 to 1"),
    ("sample_rate", float("nan"), "from 0 to 1"),
    ("sample_rate", True, "from 0 to 1"),
    ("zipkin_encoding", "thrift", "must be one of json, proto3"),
    ("sample_rules", "[{", "must be JSON: "),
    ("sample_rules", 5, "list of rules"),
    ("sample_limit", 1.5, "integer from 0 to"),
    ("inbound_limit", -1, "integer from 0 to"),
    ("keep_errors", "5xx", "true or false"),
    ("keep_slow", -1, "from 0 to"),
    ("backpressure", 2, "true or false"),
    ("exclude", 5, "list of names"),
    ("trust_incoming", "sometimes", "must be always, never, or a list of networks"),
    ("trust_incoming", ["10.0.0.0/33"], "such as 10.0.0.0/8"),
    ("propagation", "b3multi,jaeger", "b3multi, b3, w3c"),
    ("propagation", 5, "list of"),
    ("propagate_to", "http://orders", "no scheme"),
    ("propagate_to", ["orders/path"], "no path"),
    ("propagate_to", ["::1"], "[::1]"),
    ("propagate_to", b"orders", "list of names"),
    ("integrations", ["flask", "flsk"], "flsk"),
    ("integrations", b"flask", "list of names"),
    ("disable", "flsk", "flask"),
    ("opentelemetry", "on", "must be one of auto, off"),
    ("project", 7, "text"),
    ("queue_size", 0, "from 1 to"),
    ("logs", "xml", "must be one of json, console"),
    ("mask_keys", 7, "list of names"),
    ("request_log", "sometimes", "true or false"),
    ("queue_size", 2.5, "integer"),
    ("queue_size", float("inf"), "integer"),
    ("queue_size", "1e3", "integer"),
    ("batch_size", -1, "from 1 to"),
    ("flush_interval", -0.1, "from 0 to"),
    ("flush_interval", "soon", "number"),
    ("export_timeout", 0, "from 0.001"),
    ("exit_timeout", [], "number"),
    ("response_flush", "auto", "from 0 to 60"),
    ("queue_bytes", 9, "from 10000 to"),
    ("spool", 7, "text"),
    ("spool_bytes", 9, "from 100000 to"),
    ("spool_age", 0, "from 1 to"),
    ("spool_write_through", "now", "true or false"),
    ("profiler", "always", "must be one of auto, google, builtin, off"),
    ("profiler_output", 7, "text"),
    ("profiler_hz", 5000, "from 1 to 1000"),
    ("profiler_duration", 0, "from 0.1 to"),
    ("profiler_interval", "daily", "number"),
    ("profiler_heap", "big", "true or false"),
]


def test_the_examples_cover_every_option():
    names = [option.name for option in OPTIONS]
    assert (
        list(EXAMPLES)
        == names
        == [name for name in Settings._fields if name not in ("baggage", "span_limits", "ignored")]
    )
    assert {name for name, *_ in BAD} == set(names)
    assert {name for name, *_ in ECOSYSTEM} == {option.name for option in OPTIONS if option.ecosystem} | {"sample_rate"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_option_comes_from_its_argument_or_its_variable(name):
    argument, text, expected = EXAMPLES[name]
    default = said(load({}, {}), name)
    assert default != expected
    from_argument = load({name: argument}, {})
    assert said(from_argument, name) == expected
    assert said(load({}, {f"OBSKIT_{name.upper()}": text}), name) == expected
    assert from_argument == load({}, {})._replace(**{name: getattr(from_argument, name)})


@pytest.mark.parametrize(("name", "environ", "expected"), ECOSYSTEM)
def test_the_ecosystems_variables_are_honoured_in_order(name, environ, expected):
    assert said(load({}, environ), name) == expected


@pytest.mark.parametrize(("name", "environ", "expected"), ECOSYSTEM)
def test_arguments_win_over_obskits_variables_which_win_over_the_ecosystems(name, environ, expected):
    argument, text, ours = EXAMPLES[name]
    variable = f"OBSKIT_{name.upper()}"
    assert said(load({}, environ | {variable: text}), name) == ours
    assert said(load({name: argument}, environ | {variable: "bad, bad"}), name) == ours


@pytest.mark.parametrize("name", EXAMPLES)
def test_none_and_blank_variables_count_as_not_given(name):
    assert load({name: None}, {f"OBSKIT_{name.upper()}": "  "}) == load({}, {})


@pytest.mark.parametrize(("name", "value", "remedy"), BAD)
def test_a_bad_argument_is_an_error_that_names_option_value_and_remedy_on_one_line(name, value, remedy):
    with pytest.raises(ConfigurationError) as caught:
        load({name: value}, {})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r} ")
    assert remedy in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "value", "remedy"), [row for row in BAD if isinstance(row[1], str) and row[1].strip()]
)
def test_a_bad_variable_is_an_error_that_names_the_variable(name, value, remedy):
    variable = f"OBSKIT_{name.upper()}"
    with pytest.raises(ConfigurationError, match=f"^{variable}=") as caught:
        load({}, {variable: value})
    assert remedy in str(caught.value)


UNUSABLE = [
    ({"OTEL_SDK_DISABLED": "perhaps"}, "must be true or false; it is ignored"),
    ({"OTEL_SDK_DISABLED": "1"}, "must be true or false; it is ignored"),
    ({"OTEL_EXPORTER_ZIPKIN_ENDPOINT": "zipkin"}, "it is ignored"),
    ({"OTEL_TRACES_EXPORTER": "no_such"}, "it is ignored"),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "must be an integer from"),
    ({"OTEL_BSP_SCHEDULE_DELAY": "-5"}, "must be a number from"),
    ({"OTEL_BSP_EXPORT_TIMEOUT": "abc"}, "must be a number from"),
    ({"OTEL_TRACES_SAMPLER_ARG": "2", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, "must be a number from"),
    ({"OTEL_TRACES_SAMPLER": "xray"}, "is ignored: obskit knows parentbased_always_on"),
    ({"OTEL_TRACES_SAMPLER": "always_on"}, "is read as parentbased_always_on"),
    ({"OTEL_PROPAGATORS": "jaeger"}, "not jaeger"),
    ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "-1"}, "must be an integer from 0"),
    ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "many"}, "must be an integer from 0"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "said"), UNUSABLE)
def test_what_cannot_be_used_of_a_variable_of_the_ecosystem_is_said_once_and_stops_nothing(environ, said):
    variable, value = next(iter(environ.items()))
    settings = load({}, environ)
    (told,) = settings.ignored
    assert told.startswith(f"{variable}={value!r}")
    assert said in told
    assert settings._replace(ignored=(), baggage=True) == load({}, {})


@pytest.mark.parametrize(
    ("environ", "option", "value"),
    [
        ({"OTEL_BSP_EXPORT_TIMEOUT": "0"}, "export_timeout", 3600.0),
        ({"OTEL_SDK_DISABLED": "TRUE"}, "enabled", False),
        ({"OTEL_TRACES_SAMPLER": "ParentBased_Always_Off"}, "sample_rate", 0.0),
        ({"OTEL_PROPAGATORS": "B3,unknown"}, "propagation", ("b3",)),
        ({"OTEL_TRACES_EXPORTER": "none"}, "exporter", ("none",)),
        ({"OTEL_TRACES_EXPORTER": "console"}, "exporter", ("otel:console",)),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "exporter", ("http://127.0.0.1:9411/api/v2/spans",)),
        ({"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://z:1/x"}, "exporter", ("http://z:1/x",)),
        ({"OTEL_BSP_SCHEDULE_DELAY": " "}, "flush_interval", 0.5),
    ],
)  # fmt: skip
def test_variables_of_opentelemetrys_are_read_as_its_specification_has_them(environ, option, value):
    assert said(load({}, environ), option) == value


@pytest.mark.parametrize(
    ("environ", "limits"),
    [
        ({}, LimitSettings()),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, LimitSettings(attributes=7, event_attributes=7, link_attributes=7)),
        ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
         LimitSettings(attributes=0, event_attributes=7, link_attributes=7)),
        ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "1", "OTEL_SPAN_LINK_COUNT_LIMIT": "2"}, LimitSettings(events=1, links=2)),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5"}, LimitSettings(length=5, other_length=5)),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4"},
         LimitSettings(length=4, other_length=5)),
    ],
)  # fmt: skip
def test_limits_of_spans_come_from_the_nearest_variable(environ, limits):
    assert load({}, environ).span_limits == limits


def test_a_profile_longer_than_the_interval_between_profiles_is_an_error_that_names_both():
    with pytest.raises(
        ConfigurationError, match=r"profiler_duration=20\.0 must not be more than profiler_interval=10\.0"
    ):
        load({"profiler_duration": 20, "profiler_interval": 10}, {})
    load({"profiler_duration": 10, "profiler_interval": 10}, {})


def test_the_folder_for_profiles_may_be_a_path():
    assert load({"profiler_output": Path("profiles")}, {}).profiler_output == "profiles"


def test_an_unknown_option_is_an_error_that_names_those_there_are():
    with pytest.raises(ConfigurationError, match="unknown option 'exporters'; the options are enabled, service, "):
        load({"exporters": "console"}, {})


@pytest.mark.parametrize(
    ("installed", "name", "message"),
    [
        (["console"], "otlp", "only console is installed; pip install opentelemetry-exporter-otlp"),
        (["b", "a"], "otlp_proto_http", "only a, b are installed; pip install opentelemetry-exporter-otlp-proto-http"),
        ([], "own", "none is installed; install the package that has it, or name another"),
    ],
)
def test_a_missing_exporter_of_opentelemetrys_is_told_with_its_package(installed, name, message, tmp_path, monkeypatch):
    with_exporters(installed, tmp_path, monkeypatch)
    with pytest.raises(ConfigurationError) as caught:
        load({"exporter": f"otel:{name}"}, {})
    assert str(caught.value).endswith(f"(of OpenTelemetry's exporters {message})")


@pytest.mark.parametrize(
    ("installed", "variable", "protocol", "taken"),
    [
        ("otlp_proto_http", None, None, "otlp_proto_http"),
        ("otlp otlp_proto_grpc otlp_proto_http", None, None, "otlp"),
        ("otlp otlp_proto_grpc otlp_proto_http", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "otlp_proto_http"),
        ("otlp_proto_http otlp_proto_grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "otlp_proto_grpc"),
    ],
)
def test_otlp_is_the_exporter_of_the_protocol_or_the_one_that_is_installed(
    installed, variable, protocol, taken, tmp_path, monkeypatch
):
    with_exporters(installed.split(), tmp_path, monkeypatch)
    if variable:
        monkeypatch.setenv(variable, protocol)
    (tmp_path / f"exporters_of_{tmp_path.name}.py").write_text(f"class {taken}: pass")
    assert load({}, {"OTEL_TRACES_EXPORTER": "otlp"}).ignored == ()
    assert destinations._named("otlp")().__class__.__name__ == taken


def with_exporters(installed, tmp_path, monkeypatch):
    """Distributions are found on the path: one of its own for each test."""
    (folder := tmp_path / "exporters-1.dist-info").mkdir()
    entries = "".join(f"{one} = exporters_of_{tmp_path.name}:{one}\n" for one in installed)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: exporters\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(f"[opentelemetry_traces_exporter]\n{entries}")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])


def test_credentials_in_a_bad_url_are_not_repeated():
    with pytest.raises(ConfigurationError) as caught:
        load({"exporter": "htp://user:secret@host/path?key=hidden"}, {})
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "htp://***@host/path?***" in str(caught.value)


@pytest.mark.parametrize("url", ["http://user:hun/ter2@h", "grpc://user:hun/ter2@h:9411", "user:hunter2@h:9411"])
def test_a_password_is_not_repeated_where_it_makes_the_url_bad(url):
    with pytest.raises(ConfigurationError) as caught:
        load({"exporter": ["console", url]}, {})
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert "***@h" in str(caught.value)


PASSWORDS = [
    "cloudtrace://bob:hunter2@my-project",
    "http://bob:hunter2 @host:9411",
    "http://bob:hunter2\n@host:bad",
    "http://bob:hunter2\t@host name/",
    "http://bob:hun hunter2@host",
    "http://bob:hunter2",
    "http:/bob:hunter2@host",
    "bob:hunter2@host",
    "http://bob:hunter2@ho\u2100st/",
    "http://[bob:hunter2@host",
    "http://bob:'hunter2' @host",
    "http://a, http://bob:hunter2 @b",
    "grpc://bob:hunter2 @host:1",
    "kafka://bob:hunter2 @b:1/t",
    "kafka://b:1/t?hunter2",
    "kafka://b:1/t?sasl.password=a&Xhunter2=x",
]


@pytest.mark.parametrize("url", PASSWORDS)
@pytest.mark.parametrize("from_variable", [False, True])
def test_no_part_of_a_bad_url_that_may_be_a_password_is_repeated(url, from_variable):
    arguments, environ = ({}, {"OBSKIT_EXPORTER": url}) if from_variable else ({"exporter": url}, {})
    with pytest.raises(ConfigurationError) as caught:
        load(arguments, environ)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "module", "remedy"),
    [
        ("grpc://h:9411", "grpc", "pip install 'obskit[grpc]'"),
        ("kafka://b:1/t", "confluent_kafka", "pip install 'obskit[kafka]'"),
        ("cloudtrace://my-project", "google.auth", "pip install 'obskit[gcp]'"),
    ],
)
def test_a_missing_extra_is_an_error_of_the_start_that_names_the_remedy(url, module, remedy, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=re.escape(remedy)):
        load({"exporter": url}, {})


def test_a_giant_bad_value_is_cut_and_stays_on_one_line():
    with pytest.raises(ConfigurationError) as caught:
        load({"exporter": "x\n" * 100_000}, {})
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_a_comma_inside_a_url_does_not_divide_it():
    found = load({"exporter": "http://a/x?y=1,2 , console,http://b,"}, {})
    assert said(found, "exporter") == ("http://a/x?y=1,2", "console", "http://b")


def test_an_opentelemetry_exporter_may_be_given_alone_or_in_a_list():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    assert said(load({"exporter": exporter}, {}), "exporter") == (exporter,)
    assert said(load({"exporter": ["none", exporter]}, {}), "exporter") == ("none", exporter)
    assert load({"exporter": exporter}, {}) == load({"exporter": [exporter]}, {})
    assert load({"exporter": exporter}, {}) != load({"exporter": InMemorySpanExporter()}, {})


def test_the_documentation_has_a_row_for_each_option_as_the_table_says():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+) \|$", DOCS.read_text(), re.MULTILINE)
    documented = {name: (variable, default, meaning) for name, variable, default, meaning in rows}
    assert list(documented) == [option.name for option in OPTIONS]
    for option in OPTIONS:
        variable, default, meaning = documented[option.name]
        assert variable == option.variable
        assert meaning.startswith(option.meaning)
        assert default == option.shown_default
        for other, _ in option.ecosystem:
            assert f"`{other}`" in DOCS.read_text()


def test_changed_options_are_told_as_they_may_be_given_and_without_credentials():
    rules = [{"path": "/health*", "rate": 0, "limit": 2}, {"service": ["a", "b"], "rate": 1}]
    before = load({"exporter": "none"}, {})
    after = load({"exporter": ["console", "http://me:secret@zipkin:9411"], "sample_rules": rules}, {})
    told = changes(before, after)
    assert told["exporter"] == "exporter: ['none'] -> ['console', 'http://***@zipkin:9411']"
    old, new = told["sample_rules"].removeprefix("sample_rules: ").split(" -> ")
    assert load({"sample_rules": ast.literal_eval(old)}, {}).sample_rules == before.sample_rules
    assert load({"sample_rules": ast.literal_eval(new)}, {}).sample_rules == after.sample_rules
    assert "None" not in new
