"""Lists what is instrumented and what is not, for ``obskit.stats()`` and one log record."""

from __future__ import annotations

import sys
from typing import Any

from obskit.base.distributions import installed
from obskit.base.failures import failed
from obskit.instrumentation.instrumentors import library_of
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.stale import stale_references
from obskit.integrations import MODULES, others

_PACKAGE = "opentelemetry-instrumentation-"

_OFFERED = {
    **{name: name for name in (
        "aio-pika", "aiohttp", "aiokafka", "aiopg", "asyncpg", "celery", "confluent-kafka", "falcon",
        "kafka-python", "mysqlclient", "pika", "psycopg", "psycopg2", "pymemcache", "pymongo", "pymssql", "pymysql",
        "pyramid", "redis", "sqlalchemy", "tornado",
    )},
    "cassandra-driver": "cassandra",
    "mysql-connector-python": "mysql",
    "psycopg2-binary": "psycopg2",
    "tortoise-orm": "tortoiseorm",
}  # fmt: skip
"""Packages with which services communicate, each with its OpenTelemetry instrumentation."""

_DISTRIBUTIONS = {"grpc": "grpcio", "kafka": "kafka-python", "mysql": "mysql-connector-python"}


def inventory(patches: Patches, modules: tuple[str, ...]) -> dict[str, Any]:
    """Return ``stats()["integrations"]``. ``modules`` are those that were imported before patching."""
    versions = installed()
    return {
        "instrumented": {name: _version(module, versions) for name, module in sorted(patches.installed.items())},
        "not_covered": _not_covered(versions),
        "left_alone": dict(sorted(patches.refused.items())),
        "unpatched": _unpatched(patches, modules),
    }


def summary(found: dict[str, Any]) -> str:
    """Return an inventory as one line."""
    instrumented = ", ".join(f"{name} {version}".strip() for name, version in found["instrumented"].items())
    parts = [f"instrumented so far: {instrumented or 'nothing'}"]
    parts += [f"{name} is not covered: {remedy}" for name, remedy in found["not_covered"].items()]
    parts += [f"{name} is left alone: {reason}" for name, reason in found["left_alone"].items()]
    parts += [f"{reference} was taken before it was patched" for reference in found["unpatched"]]
    return "; ".join(parts)


def _version(module: str, versions: dict[str, str]) -> str:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return sys.version.partition(" ")[0]
    return versions.get(_DISTRIBUTIONS.get(top, top.replace("_", "-").lower()), "")


def _not_covered(versions: dict[str, str]) -> dict[str, str]:
    covered = [f"{module}." for modules in MODULES.values() for module in modules]
    brought = others()
    return {
        package: f"pip install {_PACKAGE}{name}"
        for package, name in _OFFERED.items()
        if package in versions
        and f"{_PACKAGE}{name}" not in versions
        and name not in brought
        and not any(module.startswith(f"{library_of(name)}.") for module in covered)
    }


_looked_at: tuple[object, list[str]] = (None, [])


def _unpatched(patches: Patches, modules: tuple[str, ...]) -> list[str]:
    """Return references that stay unpatched; cached until more is patched."""
    global _looked_at  # noqa: PLW0603 - a health page may ask every second
    state = (modules, len(patches.targets()), len(patches.installed))
    if _looked_at[0] != state:
        libraries = [module for name, module in patches.installed.items() if name not in MODULES]
        try:
            _looked_at = state, stale_references(patches, libraries, modules)
        except Exception:  # it examines arbitrary objects of the program
            failed("looking for references that stay unpatched")
            _looked_at = state, []
    return _looked_at[1]
