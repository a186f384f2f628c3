"""Prints, as pip's requirements, the oldest version of each library that pyproject.toml allows: `make test-min`.

What only other tests need is left out: tools, and peers that pin OpenTelemetry's newest packages.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires

NEEDLESS = (
    "build",
    "coverage",
    "google",
    "hypothesis",
    "mypy",
    "opentelemetry-",
    "pyright",
    "ruff",
    "setuptools",
    "types-",
)
NEEDED = ("google-auth", "google-cloud-logging", "opentelemetry-api", "opentelemetry-sdk")
NEWEST = ("hypothesis", "pytest", "pytest-xdist")
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[\w,-]+\])?\s*>=\s*(?P<version>[\w.]+)(?P<when>.*)")
EXTRAS = ("collector", "gcp", "grpc", "kafka", "dev")


def oldest() -> list[str]:
    """The lower bounds of obskit and of the extras that its integrations are tested with."""
    found = [REQUIREMENT.match(line) for line in requires("obskit") or [] if applies(line)]
    return [
        f"{each['name']}{each['extras'] or ''}=={each['version']}" for each in found if each and is_needed(each["name"])
    ]


def applies(line: str) -> bool:
    extra = re.search(r'extra == "([\w-]+)"', line)
    return extra is None or extra[1] in EXTRAS


def is_needed(name: str) -> bool:
    return name in NEEDED or not name.startswith((*NEEDLESS, *NEWEST))


if __name__ == "__main__":
    sys.stdout.writelines(f"{requirement}\n" for requirement in sorted({*oldest(), *NEWEST}))
