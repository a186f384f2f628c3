"""Imports point one way: a layer knows those below it, never one above; and obskit.init() imports nothing heavy."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.receiver import receiver, run

ROOT = Path(__file__).parent.parent
INTEGRATION_LINES = 150

BASE = {"base"}
TRACING = BASE | {"tracing"}
PROPAGATION = TRACING | {"propagation"}
INSTRUMENTATION = PROPAGATION | {"instrumentation"}
MIDDLE = {"integrations", "export", "logs", "profiling"}
RUNTIME = INSTRUMENTATION | MIDDLE | {"zipkin", "settings", "runtime"}
PUBLIC = RUNTIME | {"api"}

# What each module or package of obskit may import of obskit, besides itself. "" is obskit/__init__.py.
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "tracing": BASE,
    "zipkin": BASE,
    "propagation": TRACING,
    "instrumentation": PROPAGATION,
    "integrations": INSTRUMENTATION,
    "logs": INSTRUMENTATION | {"export"},  # entries for an API are delivered by the spans' pipeline
    "profiling": INSTRUMENTATION | {"export"},  # uploads go to Google with the spans' account
    "export": INSTRUMENTATION | {"zipkin"},
    "settings": INSTRUMENTATION | MIDDLE,
    "runtime": RUNTIME,
    "api": RUNTIME,
    "": PUBLIC,
    "collector": BASE | {"zipkin"},
    "testing": PUBLIC | {""},
    "cli": PUBLIC | {"", "collector"},
    "__main__": {"cli"},
    "freezing": set(),  # run by PyInstaller
}

# What takes long to import, and what only some programs need.
HEAVY = (
    "confluent_kafka",
    "google",
    "googlecloudprofiler",
    "grpc",
    "msgspec",
    "obskit.logs.console",
    "obskit.logs.inherit",
    "obskit.tracing.sampling.rules",
    "obskit.tracing.sampling.tail",
    "obskit.profiling",
    "opentelemetry.exporter",
    "asyncio",
    "concurrent",
    "dataclasses",
    "email",
    "http",
    "importlib.metadata",
    "multiprocessing",
    "random",
    "sqlite3",
    "ssl",
    "subprocess",
    "starlette",
    "uvicorn",
)


# A served request, a call, a line, a span by OpenTelemetry's API and a delivery; then the modules of its SDK.
EVERYTHING = """
import logging, sys
import obskit
obskit.init(exporter=[sys.argv[1], "console"], logs="json", request_log=True, keep_errors=True)
import flask, requests
from opentelemetry import trace
from obskit.testing.servers import wsgi_server
app = flask.Flask("shop")
@app.get("/orders/<int:number>")
def order(number):
    logging.getLogger("shop").warning("order %d", number)
    return "done"
with wsgi_server(app) as url, trace.get_tracer("lib", "1").start_as_current_span("work") as span:
    span.add_event("asking")
    assert requests.get(url + "/orders/7").text == "done"
assert obskit.flush(20)
print(len(obskit.stats()["exporters"]), sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""


def find_modules() -> dict[str, Path]:
    """Every module by its installed name."""
    sources = [("obskit", ROOT / "obskit"), ("obskit.integrations", ROOT / "integrations")]
    return {
        ".".join((package, *file.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): file
        for package, folder in sources
        for file in folder.rglob("*.py")
        if not any(file.is_relative_to(ROOT / "obskit" / name) for name in ("examples", "integrations"))
    }


MODULES = find_modules()
TREES = {name: ast.parse(file.read_text(), file) for name, file in MODULES.items()}


def imported(module: str, nodes: Iterator[ast.AST]) -> set[str]:
    """The modules that these import statements of `module` name, in full."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            submodules = {alias.name: f"{base}.{alias.name}" for alias in node.names}
            names |= {full if full in MODULES else base for full in submodules.values()}
    return names


def all_imports(module: str) -> set[str]:
    return imported(module, ast.walk(TREES[module]))


def import_time_imports(module: str) -> set[str]:
    return imported(module, run_at_import(TREES[module].body))


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node):
            continue
        yield node
        for part in ("body", "orelse", "handlers", "finalbody"):
            yield from run_at_import(getattr(node, part, []))


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def layer(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def is_ours(module: str) -> bool:
    return module.partition(".")[0] == "obskit"


def test_every_part_of_obskit_has_a_place_in_the_layers() -> None:
    assert {layer(module) for module in MODULES} <= set(MAY_IMPORT)


def test_no_module_is_named_like_one_of_the_standard_librarys() -> None:
    """But for integrations and commands, which are named after what they are for, and a name newer than ours."""
    ours = {name for name in MODULES if layer(name) not in {"integrations", "cli"}} - {"obskit.profiling"}  # 3.15
    assert {name for name in ours if name.rpartition(".")[2] in sys.stdlib_module_names} == set()


def test_the_layers_themselves_have_no_cycle() -> None:
    list(graphlib.TopologicalSorter({name: below - {name} for name, below in MAY_IMPORT.items()}).static_order())


def test_nothing_imports_upward() -> None:
    upward = {
        (module, name)
        for module in MODULES
        for name in filter(is_ours, all_imports(module))
        if layer(name) not in MAY_IMPORT.get(layer(module), set()) | {layer(module)}
    }
    assert not upward, "imports of a higher layer (or of one beside); see MAY_IMPORT in this file"


def test_tracing_imports_only_the_standard_library_and_opentelemetry() -> None:
    known = sys.stdlib_module_names | {"opentelemetry", "obskit"}
    tracing = [module for module in MODULES if layer(module) == "tracing"]
    foreign = {(module, name) for module in tracing for name in all_imports(module) if name.split(".")[0] not in known}
    assert not foreign


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {module: (import_time_imports(module) & set(MODULES)) - {module} for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_nothing_imports_integrations_by_the_name_of_its_folder() -> None:
    assert not {module for module in MODULES if any(n.split(".")[0] == "integrations" for n in all_imports(module))}


def test_an_integration_stays_small() -> None:
    lines = {file.name: len(file.read_text().splitlines()) for file in (ROOT / "integrations").glob("*.py")}
    assert {name: n for name, n in lines.items() if n > INTEGRATION_LINES} == {}


@pytest.fixture(scope="module")
def modules_after_init() -> list[str]:
    """Return them but for those that ``logging`` and ``uuid`` import themselves, which differ by version of Python."""
    code = "import json, logging, sys, uuid; own = {*sys.modules}; import obskit; obskit.init(); "
    code += "print(json.dumps(sorted({*sys.modules} - own)))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OBSKIT_", "OTEL_"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stdout.splitlines()[-1])
    return loaded


@pytest.mark.parametrize("heavy", HEAVY)
def test_init_with_default_settings_does_not_import(heavy: str, modules_after_init: list[str]) -> None:
    assert [name for name in modules_after_init if f"{name}.".startswith(f"{heavy}.")] == []


def test_only_the_bridge_to_opentelemetrys_exporters_imports_its_sdk() -> None:
    importing = {name for name in MODULES for one in import_time_imports(name) if one.startswith("opentelemetry.sdk")}
    assert importing == {"obskit.export.otel"}


def test_no_request_span_line_or_delivery_imports_opentelemetrys_sdk() -> None:
    with receiver() as server:
        done = run(EVERYTHING, server.url)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["2 []"]), done.stderr


def test_the_wheel_has_every_package() -> None:
    """They are listed by name, since two of them have their folders elsewhere."""
    settings = (ROOT / "pyproject.toml").read_text()
    listed = set(re.findall(r'"(obskit[\w.]*)"', settings.partition("\npackages = [")[2].partition("]")[0]))
    found = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "obskit").rglob("__init__.py")}
    assert listed == found | {"obskit.examples", "obskit.integrations"}
